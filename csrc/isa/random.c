/* Random numbers: the same on every instruction set, so nothing is fused. */
#if defined(__SSE2__)
#include <immintrin.h>                          /* before words.h gives abs another meaning */
#endif
#define MGX_UNFUSED
#include "isa.h"
#ifdef ISA
#define OWN_random(...) __VA_ARGS__
#define OWN_structured(...)
#define OWN_gemm(...)
#include "f32.h"
#include "random.inl"
#include "shims.inl"
#include "f64.h"
#include "random.inl"
#include "shims.inl"

ENTER(random)
{
#define KERNEL ENTER_KERNEL
#include "kernels.def"
}
#endif
