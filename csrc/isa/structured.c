/* Copies, reductions, indices, softmax, optimizers, windows and normalization. */
#include "isa.h"
#ifdef ISA
#define OWN_random(...)
#define OWN_structured(...) __VA_ARGS__
#define OWN_gemm(...)
#include "f32.h"
#include "memory.inl"
#include "reduce.inl"
#include "index.inl"
#include "softmax.inl"
#include "optim.inl"
#include "conv.inl"
#include "norm.inl"
#include "shims.inl"
#include "f64.h"
#include "memory.inl"
#include "reduce.inl"
#include "index.inl"
#include "softmax.inl"
#include "optim.inl"
#include "conv.inl"
#include "norm.inl"
#include "shims.inl"

ENTER(structured)
{
    BOTH(all_finite);
#define KERNEL ENTER_KERNEL
#include "kernels.def"
}
#endif
