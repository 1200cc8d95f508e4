/* Matrix products and streaks. */
#include "isa.h"
#ifdef ISA
#include "f32.h"
#include "gemm.inl"
#include "streak.inl"
#include "f64.h"
#include "gemm.inl"
#include "streak.inl"

ENTER(gemm)
{
    BOTH(gemm);
    BOTH(streak);
}
#endif
