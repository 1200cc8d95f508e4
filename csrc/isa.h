/* What every file of csrc/isa begins with. The build compiles each of them once for every instruction set and says
   which by a macro; where a set is not to be had, ISA stays undefined and the file is empty. */
#include "kernels.h"
#include <string.h>
#if !defined(MGX_AVX2) && !defined(MGX_AVX512)      /* what every processor of the target runs (on x86-64: SSE2) */
#define ISA baseline
#elif defined(MGX_LEVELS)
#if defined(MGX_AVX2)                               /* Haswell (2013), Zen (2017) and later */
#define ISA avx2
#if defined(__clang__)                              /* which takes the instructions, and defines no __AVX2__ */
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define END_TARGET _Pragma("clang attribute pop")
#else
#pragma GCC target("avx2,fma")
#endif
#else                                               /* Skylake-X (2017), Zen 4 (2022) and later */
#define ISA avx512
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#define END_TARGET _Pragma("clang attribute pop")
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#endif
#endif
#ifndef END_TARGET
#define END_TARGET
#endif
#if defined(MGX_AVX512) || defined(__AVX512F__)     /* bytes of a vector */
#define BYTES 64
#elif defined(MGX_AVX2) || defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif

/* a file that defines MGX_UNFUSED has the same bits on every set */
#if (BYTES > 16 || defined(__FMA__) || defined(__ARM_FEATURE_FMA)) && !defined(MGX_UNFUSED)
#define MGX_FUSED
#define FMA(a, b, c) __builtin_fma(a, b, c)
#define FMAF(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#define FMAF(a, b, c) ((a) * (b) + (c))
#endif
#include "vmath_f32.h"
#include "vmath_f64.h"
#include "words.h"
#include "rows.h"

#define INLINE static inline __attribute__((always_inline))

/* A loop along what no piece cuts, i from `from` to n - 1: between stretches of it, it asks whether it is to go on.
   ALONG_IF compiles to a plain loop where `is_long` is the constant 0. */
#define ALONG(i, from, n) ALONG_IF(1, i, from, n)
#define ALONG_IF(is_long, i, from, n) \
    for (ptrdiff_t i = (from), i##_end; i < (n) && (i##_end = stretch_end(is_long, i, n));) \
        for (; i < i##_end; i++)
INLINE ptrdiff_t stretch_end(const int is_long, ptrdiff_t i, ptrdiff_t n)
{
    return !is_long || n - i <= MGX_PIECE ? n : mgx_interrupted() ? 0 : i + MGX_PIECE;
}
/* The same for loops of other forms: `more` elements are done since `walked` was counted; is it to break off? */
#define BREAKS_OFF(walked, more) \
    ((walked += (more)) >= MGX_PIECE && (walked = mgx_interrupted() ? MGX_PIECE : 0))

/* the function of a file that enters its kernels into the table, its last; dispatch.c calls those of the chosen set */
#define ENTER(topic) END_TARGET void PASTE(mgx_enter_##topic, ISA)(mgx_kernels *k)
#define BOTH(kernel) (k->kernel[MGX_F32] = kernel##_f32, k->kernel[MGX_F64] = kernel##_f64)
/* enters the rows of kernels.def that the file has, after shims.inl was included for both dtypes */
#define ENTER_KERNEL(name, file, ...) \
    OWN_##file(k->kernel[MGX_KERNEL_##name][MGX_F32] = run_##name##_f32, \
               k->kernel[MGX_KERNEL_##name][MGX_F64] = run_##name##_f64;)
