/* All kernels for one instruction set. The including file has set the target and defines ISA. */
#include "kernels.h"
#include <string.h>

#ifdef __FMA__
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

#define REAL float
#define BITS uint32_t
#define MANTISSA 23
#define SUFFIX f32
#define TRIG_MAX TRIG_MAX_F32
#include "elementwise.inl"
#include "reduce.inl"
#include "softmax.inl"
#include "optim.inl"
#include "gemm.inl"
#include "streak.inl"
#include "conv.inl"
#include "norm.inl"
#include "shims.inl"
#undef REAL
#undef BITS
#undef MANTISSA
#undef SUFFIX
#undef TRIG_MAX

#define REAL double
#define BITS uint64_t
#define MANTISSA 52
#define SUFFIX f64
#define TRIG_MAX TRIG_MAX_F64
#include "elementwise.inl"
#include "reduce.inl"
#include "softmax.inl"
#include "optim.inl"
#include "gemm.inl"
#include "streak.inl"
#include "conv.inl"
#include "norm.inl"
#include "shims.inl"
#include "replay.inl"

/* the scalar rules: the same expressions, in double */
#define RULE(name) static void name##_rule(const double *v, int needs, double *result, double *d)
#define U(name, f, dx, lo, hi, ulp, dulp) \
    RULE(name) { double x = v[0], y = (f); *result = y; if (needs) d[0] = (dx); (void)x; }
#define D U
#define H(name, f, dx, lo, hi, ulp, dulp) \
    RULE(name) { \
        double x = v[0]; \
        int huge = __builtin_fabs(x) > TRIG_MAX; \
        *result = huge ? name##_libm_f64(x) : (f); \
        if (needs) d[0] = huge ? name##_libm_d_f64(x) : (dx); }
#define B(name, f, da, db, lo, hi, ulp, dulp) \
    RULE(name) { \
        double a = v[0], b = v[1], y = (f); (void)a; (void)b; \
        *result = y; \
        if (needs & 1) d[0] = (da); \
        if (needs & 2) d[1] = (db); }
#define T(name, f, da, db, dc, lo, hi, ulp, dulp) \
    RULE(name) { \
        double a = v[0], b = v[1], c = v[2]; (void)a; (void)b; (void)c; \
        *result = (f); \
        if (needs & 1) d[0] = (da); \
        if (needs & 2) d[1] = (db); \
        if (needs & 4) d[2] = (dc); }
#define C(name, f, lo, hi) \
    RULE(name) { double a = v[0], b = v[1]; *result = (f) ? 1 : 0; if (needs & 1) d[0] = 0; if (needs & 2) d[1] = 0; }
#include "ops.def"
#undef U
#undef D
#undef H
#undef B
#undef T
#undef C

#define BOTH(kernel) {kernel##_f32, kernel##_f64}
#define U(name, f, d, lo, hi, ulp, dulp) [MGX_##name] = {{PASTE(name##_forward, SUFFIX), 0, PASTE(name##_vjp0, SUFFIX)}},
#define D(name, f, d, lo, hi, ulp, dulp) [MGX_##name] = {{PASTE(name##_forward, SUFFIX), PASTE(name##_forward_d, SUFFIX)}},
#define H D
#define B(name, f, da, db, lo, hi, ulp, dulp) \
    [MGX_##name] = {{PASTE(name##_forward, SUFFIX), 0, PASTE(name##_vjp0, SUFFIX), PASTE(name##_vjp1, SUFFIX)}},
#define T(name, f, da, db, dc, lo, hi, ulp, dulp) \
    [MGX_##name] = {{PASTE(name##_forward, SUFFIX), 0, PASTE(name##_vjp0, SUFFIX), PASTE(name##_vjp1, SUFFIX), \
                     PASTE(name##_vjp2, SUFFIX)}},
#define C(name, f, lo, hi) [MGX_##name] = {{PASTE(name##_forward, SUFFIX)}},

const mgx_kernels PASTE(mgx_kernels, ISA) = {
    .isa = ISA_NAME,
    .rows = {
        {
#undef SUFFIX
#define SUFFIX f32
#include "ops.def"
        },
        {
#undef SUFFIX
#define SUFFIX f64
#include "ops.def"
        },
    },
#undef U
#undef D
#undef H
#undef B
#undef T
#undef C
    .rules = {
#define U(name, ...) [MGX_##name] = name##_rule,
#define D U
#define H U
#define B U
#define T U
#define C U
#include "ops.def"
    },
    .streak = BOTH(streak),
    .finite = BOTH(finite),
    .kernel = {
#define KERNEL(name, ...) [MGX_KERNEL_##name] = {run_##name##_f32, run_##name##_f64},
#include "kernels.def"
#undef KERNEL
    },
    .replay = replay,
    .replay_vjp = replay_vjp,
    .replay_rows = replay_rows,
    .replay_rows_vjp = replay_rows_vjp,
};
