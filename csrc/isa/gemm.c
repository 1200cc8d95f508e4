/* Matrix products and what is made of them, factors of matrices, and fused chains. */
#include "isa.h"
#ifdef ISA
#define OWN_random(...)
#define OWN_gemm(...) __VA_ARGS__
#define OWN_structured(...)
#include "f32.h"
#include "gemm.inl"
#include "factor.inl"
#include "recurrence.inl"
#include "attention.inl"
#include "fused_chain.inl"
#include "shims.inl"
#include "f64.h"
#include "gemm.inl"
#include "factor.inl"
#include "recurrence.inl"
#include "attention.inl"
#include "fused_chain.inl"
#include "shims.inl"

ENTER(gemm)
{
    BOTH(fused_chain);
#define KERNEL ENTER_KERNEL
#include "kernels.def"
}
#endif
