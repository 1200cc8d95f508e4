/* vmath_f32.h - float32 functions and their derivatives, written so that plain loops over them vectorise.
 *
 * Intent: microgradx watches gradients vanish, so a derivative must keep its digits in the tails, at its roots
 * and down to the last subnormal number. Everything here is straight-line code: no branches, tables or libm.
 *
 * The including file defines FMAF(a,b,c): a fused a*b + c where the machine has one, else (a)*(b) + (c). Nothing
 * is fused unless FMAF says so, so every vector width gives the same bits. Build with
 * -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off, never -ffast-math.
 *
 * Conventions: t is |x|, E is exp(-something) in (0, 1], d* is a derivative. Where a product with E may end below
 * the normal range the code carries E_big = E * 2^64 and multiplies by TWO_M64 last, so that only one rounding
 * happens there. Each function says: largest error found (ulp of the true value; AVX2, every 7th float in 2^-8..2^7 and
 * every 211th elsewhere, against long double), range, method.
 * Polynomials: minimax (Lawson's reweighted least squares), coefficients rounded to float one after another. */
#include <stdint.h>

/* sin, cos and tan are accurate up to this |x|; the caller gives larger ones to libm. */
#undef TRIG_MAX_F32
#ifdef MGX_FUSED
#define TRIG_MAX_F32 1048576.0f
#else
#define TRIG_MAX_F32 12000.0f
#endif

#ifndef VMATH_F32_CONSTANTS
#define VMATH_F32_CONSTANTS
#define INF_F32 __builtin_inff()
#define NAN_F32 __builtin_nanf("")
#define TWO_M64 5.42101086e-20f         /* 2^-64 */
#define ROUND_MAGIC 12582912.0f         /* 1.5 * 2^23: x + this - this rounds to an integer, kept in the low bits */
#define E_ARG_MAX 120.0f                /* exp(-120) * 120 is 0 in float32, and so is everything beyond */
#define GAUSS_ARG_MAX 10.4f             /* the same for exp(-t^2) */
#define NORMAL_ARG_MAX 14.7f            /* and for exp(-t^2/2) */
#define GELU_TANH_ARG_MAX 11.0f         /* and for exp(-2u(t)) */
#endif

/* ---- bits ---- */

#define INLINE_F32 static inline __attribute__((always_inline))      /* a call left standing would keep a loop scalar */
INLINE_F32 uint32_t bits_of_f32(float x) { uint32_t i; __builtin_memcpy(&i, &x, 4); return i; }
INLINE_F32 float f32_of_bits(uint32_t i) { float x; __builtin_memcpy(&x, &i, 4); return x; }

/* 2^k for -126 <= k <= 127 (modulo 2^32). k may carry the bits of ROUND_MAGIC, which the shift drops. */
INLINE_F32 float power_of_two_f32(uint32_t k) { return f32_of_bits((k + 127u) << 23); }

/* Comparisons with NaN are false, so these two let NaN through. */
INLINE_F32 float at_most_f32(float x, float top) { return x > top ? top : x; }
INLINE_F32 float at_least_f32(float x, float bottom) { return x < bottom ? bottom : x; }

/* a*b - product, where product is a*b rounded. Exact; without fused multiply-add by Dekker's splitting. */
INLINE_F32 float product_tail_f32(float a, float b, float product) {
#ifdef MGX_FUSED
    return FMAF(a, b, -product);
#else
    float a_hi = f32_of_bits(bits_of_f32(a) & 0xfffff000u), a_lo = a - a_hi;
    float b_hi = f32_of_bits(bits_of_f32(b) & 0xfffff000u), b_lo = b - b_hi;
    return ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
#endif
}

/* Polynomials a + b x + c x^2 + ... by Horner; the long ones by even and odd powers (x2 = x*x), half the latency. */
INLINE_F32 float poly3_f32(float x, float a, float b, float c) { return FMAF(x, FMAF(x, c, b), a); }
INLINE_F32 float poly4_f32(float x, float a, float b, float c, float d) { return FMAF(x, poly3_f32(x, b, c, d), a); }
INLINE_F32 float poly5_f32(float x, float a, float b, float c, float d, float e) {
    return FMAF(x, poly4_f32(x, b, c, d, e), a);
}
INLINE_F32 float poly6_f32(float x, float a, float b, float c, float d, float e, float f) {
    return FMAF(x, poly5_f32(x, b, c, d, e, f), a);
}
INLINE_F32 float poly7_f32(float x, float x2, float a, float b, float c, float d, float e, float f, float g) {
    return FMAF(x, poly3_f32(x2, b, d, f), poly4_f32(x2, a, c, e, g));
}
INLINE_F32 float poly8_f32(float x, float x2, float a, float b, float c, float d, float e, float f, float g, float h) {
    return FMAF(x, poly4_f32(x2, b, d, f, h), poly4_f32(x2, a, c, e, g));
}

/* ---- the core of exp ---- */

/* exp(y + tail) = (1 + q) * 2^k with |log(1+q)| <= ln(2)/2; Cody and Waite's reduction. k carries ROUND_MAGIC. */
typedef struct { float q; uint32_t k; } exp_parts_f32;
INLINE_F32 exp_parts_f32 exp_split_f32(float y, float tail) {
    float z = FMAF(y, 1.44269504f, ROUND_MAGIC);
    float n = z - ROUND_MAGIC;
    float r = FMAF(n, -0.693359375f, y);
    r = FMAF(n, 2.12194440e-4f, r) + tail;
    float p = poly5_f32(r, 0.499999821f, 0.166665167f, 4.16707136e-2f, 8.36913288e-3f, 1.36998156e-3f);
    exp_parts_f32 e = { FMAF(r * r, p, r), bits_of_f32(z) };
    return e;
}

/* Steps of two half-sized powers: results below the normal range are rounded once, large ones overflow in time. */
INLINE_F32 float exp_scale_f32(float mantissa, uint32_t k) {
    uint32_t half = (uint32_t)((int32_t)k >> 1);
    return mantissa * power_of_two_f32(half) * power_of_two_f32(k - half);
}

/* exp(y + tail) for y in [-128, 0], as E and as E_big = E * 2^64, with expm1 = E - 1. */
typedef struct { float E, E_big, expm1; } decay_f32;
INLINE_F32 decay_f32 decay_of_f32(float y, float tail) {
    exp_parts_f32 e = exp_split_f32(y, tail);
    float scale_big = power_of_two_f32(e.k + 64u), scale = scale_big * TWO_M64;
    float E_big = FMAF(scale_big, e.q, scale_big);
    decay_f32 d = { E_big * TWO_M64, E_big, FMAF(scale, e.q, scale - 1.0f) };
    return d;
}

/* exp(-|x|), and exp(-factor*x^2) from the square's high and low part, or up to 500 ulp would be lost. */
INLINE_F32 decay_f32 decay_abs_f32(float x) {
    return decay_of_f32(-at_most_f32(__builtin_fabsf(x), E_ARG_MAX), -0.0f);
}
INLINE_F32 decay_f32 decay_square_f32(float x, float arg_max, float factor) {
    float t = at_most_f32(__builtin_fabsf(x), arg_max), h = t * t;
    return decay_of_f32(-factor * h, -factor * product_tail_f32(t, t, h));
}

/* ---- exponentials ---- */

/* 1.01 ulp; all x; Cody-Waite reduction, degree 6. */
INLINE_F32 float exp_f32(float x) {
    exp_parts_f32 e = exp_split_f32(at_most_f32(at_least_f32(x, -105.0f), 89.0f), -0.0f);
    return exp_scale_f32(1.0f + e.q, e.k);
}

/* 0.87 ulp; all x; x minus its nearest integer is exact, degree 6. */
INLINE_F32 float exp2_f32(float x) {
    float y = at_most_f32(at_least_f32(x, -152.0f), 130.0f);
    float z = y + ROUND_MAGIC, r = y - (z - ROUND_MAGIC);
    float p = poly6_f32(r, 0.693147182f, 0.240226507f, 5.55035770e-2f, 9.61807556e-3f, 1.33918587e-3f, 1.54572248e-4f);
    return exp_scale_f32(FMAF(r, p, 1.0f), bits_of_f32(z));
}

/* 1.45 ulp; all x; 2*(s*q + s - 1/2) with exp(x) = 2*s*(1 + q). */
INLINE_F32 float expm1_f32(float x) {
    exp_parts_f32 e = exp_split_f32(at_most_f32(at_least_f32(x, -105.0f), 89.0f), -0.0f);
    float s = exp_scale_f32(0.5f, e.k);
    float y = 2.0f * FMAF(s, e.q, s - 0.5f);
    return __builtin_fabsf(x) < 1e-30f ? x : y;
}

/* exp(t)/2 for t >= 0. */
INLINE_F32 float half_exp_f32(float t) {
    exp_parts_f32 e = exp_split_f32(at_most_f32(t, 90.0f), -0.0f);
    return exp_scale_f32(FMAF(0.5f, e.q, 0.5f), e.k);
}

/* 1.63 ulp; all x; t + t^3 P(t^2) below 1, else e^t/2 - 1/(4 e^t/2). */
INLINE_F32 float sinh_f32(float x) {
    float t = __builtin_fabsf(x), z = t * t;
    float p = poly4_f32(z, 0.166666672f, 8.33331048e-3f, 1.98428956e-4f, 2.78221319e-6f);
    float h = half_exp_f32(t);
    return __builtin_copysignf(t < 1.0f ? FMAF(t * z, p, t) : h - 0.25f / h, x);
}

/* 1.46 ulp; all x; e^t/2 + 1/(4 e^t/2). */
INLINE_F32 float cosh_f32(float x) {
    float h = half_exp_f32(__builtin_fabsf(x));
    return h + 0.25f / h;
}

/* ---- logarithms ---- */

/* log(u + c) = k ln 2 + (f + R) for u > 0 and a correction c far below u; f + R = log(1 + f), sqrt(1/2) <= 1+f < sqrt(2).
 * f is exact when c = 0, and equals c exactly when u = 1: nothing is lost near the root. */
typedef struct { float f, R, k; } log_parts_f32;
INLINE_F32 log_parts_f32 log_split_f32(float u, float c, float k_offset) {
    int32_t k = (int32_t)(bits_of_f32(u) - 0x3f3504f3u) >> 23;      /* 0x3f3504f3: sqrt(1/2) */
    uint32_t k_shifted = (uint32_t)k << 23;
    float m = f32_of_bits(bits_of_f32(u) - k_shifted);
    float twice_inverse = f32_of_bits(0x40000000u - k_shifted);     /* 2^(1-k); k = 128 gives 0 */
    float f = FMAF(c * twice_inverse, 0.5f, m - 1.0f);
    float z = f * f;
    float p = poly8_f32(f, z, 0.333333313f, -0.250008225f, 0.200012505f, -0.166233227f,
                        0.142013043f, -0.131601140f, 0.127643421f, -0.0763781667f);
    log_parts_f32 l = { f, z * FMAF(f, p, -0.5f), (float)k + k_offset };
    return l;
}

INLINE_F32 float log_of_parts_f32(log_parts_f32 l) {
    return FMAF(l.k, 0.693359375f, l.f + FMAF(l.k, -2.12194440e-4f, l.R));
}

/* The value at 0, below 0, at infinity and at NaN; y elsewhere. */
INLINE_F32 float log_special_f32(float u, float y) {
    float outside = u == 0.0f ? -INF_F32 : NAN_F32;
    return u > 0.0f ? (u < INF_F32 ? y : u) : outside;
}

INLINE_F32 log_parts_f32 log_split_any_f32(float x) {
    int small = x < 1.17549435e-38f;                                /* subnormal: times 2^23 first */
    return log_split_f32(small ? x * 8388608.0f : x, 0.0f, small ? -23.0f : 0.0f);
}

/* 0.90 ulp; all x; f - f^2/2 + f^3 P(f), degree 10. */
INLINE_F32 float log_f32(float x) { return log_special_f32(x, log_of_parts_f32(log_split_any_f32(x))); }

/* 1.83 ulp; all x; log divided by ln 2. */
INLINE_F32 float log2_f32(float x) {
    log_parts_f32 l = log_split_any_f32(x);
    return log_special_f32(x, FMAF(l.f + l.R, 1.44269504f, l.k));
}

/* 1.94 ulp; all x; log divided by ln 10, log10(2) in two parts. */
INLINE_F32 float log10_f32(float x) {
    log_parts_f32 l = log_split_any_f32(x);
    return log_special_f32(x, FMAF(l.k, 0.301025391f, FMAF(l.f + l.R, 0.434294482f, l.k * 4.60503907e-6f)));
}

/* 1.51 ulp; all x; log of u = fl(1 + x) with what the rounding lost handed on. */
INLINE_F32 float log1p_f32(float x) {
    float u = 1.0f + x;
    float y = log_special_f32(u, log_of_parts_f32(log_split_f32(u, x - (u - 1.0f), 0.0f)));
    return x == 0.0f ? x : y;
}

/* ---- the logistic family: everything from E = exp(-|x|) ---- */

INLINE_F32 float square_of_1_plus_f32(float E) { return FMAF(E, 2.0f + E, 1.0f); }

/* 2.36 ulp; all x; 1/(1+E) or E/(1+E). */
INLINE_F32 float sigmoid_f32(float x) {
    float E = decay_abs_f32(x).E;
    return (x < 0.0f ? E : 1.0f) / (1.0f + E);
}

/* 2.37 ulp; all x; E/(1+E)^2: no digit lost on either side. */
INLINE_F32 float dsigmoid_f32(float x) {
    float E = decay_abs_f32(x).E;
    return E / square_of_1_plus_f32(E);
}

/* 2.50 ulp; all x; -expm1(-2t)/(2 + expm1(-2t)), sign of x. */
INLINE_F32 float tanh_f32(float x) {
    float m = decay_abs_f32(2.0f * x).expm1;
    return __builtin_copysignf(m / (2.0f + m), x);
}

/* 2.36 ulp; all x; tanh' = 4E/(1+E)^2 with E = exp(-2t). */
INLINE_F32 float sech2_f32(float x) {
    decay_f32 d = decay_abs_f32(2.0f * x);
    return d.E_big * 4.0f / square_of_1_plus_f32(d.E) * TWO_M64;
}

/* 2.89 ulp; all x; max(x,0) + log(1+E), the logarithm as 2 atanh(s/2), s = E/(1 + E/2). */
INLINE_F32 float softplus_f32(float x) {
    float E = decay_abs_f32(x).E;
    float s = E / FMAF(0.5f, E, 1.0f), z = s * s;
    float p = poly4_f32(z, 8.33330154e-2f, 1.25067923e-2f, 2.18739570e-3f, 5.47389849e-4f);
    return (x > 0.0f ? x : 0.0f) + FMAF(s * z, p, s);
}

/* 3.07 ulp; all x; x sigma(x). */
INLINE_F32 float silu_f32(float x) {
    decay_f32 d = decay_abs_f32(x);
    float y = at_least_f32(x, -E_ARG_MAX) / (1.0f + d.E);
    return x < 0.0f ? y * d.E_big * TWO_M64 : y;
}

/* dsilu, dmish and dgelu_tanh have a root at some x = -t0. With g = t0 - t (t0 in two parts) the factor w that vanishes
 * there is g P(g) for |g| < 1/4, so that its relative error stays small, and the plain formula elsewhere. */

/* 3.93 ulp; all x; E (1+E-t)/(1+E)^2 for x < 0, (1+E+tE)/(1+E)^2 else. */
INLINE_F32 float dsilu_f32(float x) {
    decay_f32 d = decay_abs_f32(x);
    float t = at_most_f32(__builtin_fabsf(x), E_ARG_MAX);
    float g = (1.27846456f - t) - 1.29792827e-8f;
    float p = poly5_f32(g, 1.27846456f, 0.139231890f, 4.64101397e-2f, 1.16311880e-2f, 2.33032880e-3f);
    float w = __builtin_fabsf(g) < 0.25f ? g * p : (1.0f - t) + d.E;
    float y = (x < 0.0f ? d.E_big * w : FMAF(d.E, t, 1.0f + d.E)) / square_of_1_plus_f32(d.E);
    return x < 0.0f ? y * TWO_M64 : y;
}

/* 2.99 ulp; all x; x tanh(softplus x) = x (1 - (E+E^2)/(2+2E+E^2)) E for x < 0, x (1 - 2E^2/(1+2E+2E^2)) else. */
INLINE_F32 float mish_f32(float x) {
    decay_f32 d = decay_abs_f32(x);
    float E = d.E, square = E * E, a = E + square;
    float lost = (x < 0.0f ? a : 2.0f * square) / (x < 0.0f ? FMAF(E, 2.0f + E, 2.0f) : FMAF(2.0f, a, 1.0f));
    float from = at_least_f32(x, -E_ARG_MAX), y = FMAF(-at_most_f32(from, E_ARG_MAX), lost, from);
    return x < 0.0f ? y * d.E_big * TWO_M64 : y;
}

/* 4.31 ulp; all x; x < 0: E (4(1-t) + (6-4t)E + 4E^2 + E^3)/(2+2E+E^2)^2,
 * else 1 + E^2 (4t-2 + (4t-4)E - 4E^2)/(1+2E+2E^2)^2. */
INLINE_F32 float dmish_f32(float x) {
    decay_f32 d = decay_abs_f32(x);
    float E = d.E, t = at_most_f32(__builtin_fabsf(x), E_ARG_MAX);
    float g = (1.19243121f - t) + 3.04393759e-9f;
    float p = poly6_f32(g, 6.40796423f, 2.26320744f, 1.28613269f, 0.557806194f, 0.210703462f, 7.23096281e-2f);
    float direct = FMAF(E, FMAF(E, 4.0f + E, FMAF(-4.0f, t, 6.0f)), 4.0f * (1.0f - t));
    float w = __builtin_fabsf(g) < 0.25f ? g * p : direct;
    float v = FMAF(E, FMAF(E, -4.0f, FMAF(4.0f, t, -4.0f)), FMAF(4.0f, t, -2.0f));
    float square = x < 0.0f ? poly5_f32(E, 4.0f, 8.0f, 8.0f, 4.0f, 1.0f) : poly5_f32(E, 1.0f, 4.0f, 8.0f, 8.0f, 4.0f);
    float ratio = (x < 0.0f ? d.E_big * w : E * E * v) / square;
    return x < 0.0f ? ratio * TWO_M64 : 1.0f + ratio;
}

/* ---- the normal family ---- */

/* 1.16 ulp; all x; exp(-x^2). */
INLINE_F32 float gauss_f32(float x) { return decay_square_f32(x, GAUSS_ARG_MAX, 1.0f).E; }

/* 2.05 ulp; all x; exp(-x^2/2)/sqrt(2 pi). */
INLINE_F32 float normpdf_f32(float x) { return decay_square_f32(x, NORMAL_ARG_MAX, 0.5f).E_big * 0.398942280f * TWO_M64; }

/* The half line t >= 0 as q = (t - K)/(t + K) = 1 - v in [-1, 1), v = 2K/(t + K) (after Shepherd and Laframboise, 1981).
 * The true v is v (1 + error): rounding t + K, 2K and the quotient would cost 3 ulp, so this is carried along.
 * K_tail is what the float K lacks. */
typedef struct { float v, q, error; } half_line_f32;
INLINE_F32 half_line_f32 half_line_of_f32(float t, float K, float K_tail) {
    float sum = t + K, sum_tail = (t - (sum - K)) + K_tail, v = 2.0f * K / sum;
    float rest = FMAF(-v, sum_tail, -product_tail_f32(v, sum, 2.0f * K));
    float error = FMAF(rest, 0.5f / K, K_tail / K);
    half_line_f32 l = { v, FMAF(-v, error, 1.0f - v), error };
    return l;
}

/* erfcx(s) = exp(s^2) erfc(s) = v P(q) for K = 3/sqrt(2), 0 <= s <= 10.4; the last sum of P in two parts. */
INLINE_F32 float erfcx_f32(half_line_f32 l) {
    float q = l.q;
    float p = poly8_f32(q, q * q, -1.57541577e-2f, -3.48762516e-3f, 2.32266611e-3f, 3.41940555e-4f,
                        -3.43094376e-4f, -8.16970787e-5f, 4.27774394e-5f, 1.77673592e-5f);
    p = FMAF(q, FMAF(q, p, 7.66725764e-2f), -0.169777334f);
    float P = FMAF(q, p, 0.243027896f), P_tail = FMAF(q, p, 0.243027896f - P);
    return FMAF(l.v, P, l.v * FMAF(P, l.error, P_tail));
}

/* 2.11 ulp; all x; x + x P(x^2) below 1, else 1 - exp(-t^2) P(t). */
INLINE_F32 float erf_f32(float x) {
    float t = at_most_f32(__builtin_fabsf(x), GAUSS_ARG_MAX), z = t * t;
    float p = poly6_f32(z, 0.128379121f, -0.376123220f, 0.112801515f, -2.67105773e-2f, 4.91675548e-3f, -5.62834262e-4f);
    float c = poly8_f32(t, z, 0.986623883f, -1.05042410f, 0.796740890f, -0.435907304f,
                        0.166666493f, -4.18892540e-2f, 6.17550826e-3f, -4.02538921e-4f);
    c = c * decay_square_f32(x, GAUSS_ARG_MAX, 1.0f).E_big;    /* not E: gcc lets lanes of t < 1 underflow, which is slow */
    float y = t < 1.0f ? FMAF(t, p, t) : FMAF(c, -TWO_M64, 1.0f);
    return __builtin_copysignf(y, x);
}

/* 3.61 ulp; all x; exp(-t^2) erfcx(t), for x < 0 two minus that. */
INLINE_F32 float erfc_f32(float x) {
    half_line_f32 l = half_line_of_f32(at_most_f32(__builtin_fabsf(x), GAUSS_ARG_MAX), 2.12132025f, 9.59094961e-8f);
    float y = decay_square_f32(x, GAUSS_ARG_MAX, 1.0f).E_big * erfcx_f32(l) * TWO_M64;
    return x < 0.0f ? 2.0f - y : y;
}

/* 3.41 ulp; all x; x Phi(x), Phi(-t) = exp(-t^2/2) erfcx(t/sqrt 2)/2. */
INLINE_F32 float gelu_f32(float x) {
    decay_f32 d = decay_square_f32(x, NORMAL_ARG_MAX, 0.5f);
    float t = at_most_f32(__builtin_fabsf(x), NORMAL_ARG_MAX);
    float u = t * erfcx_f32(half_line_of_f32(t, 3.0f, -0.0f)) * d.E_big;
    return FMAF(u, -0.5f * TWO_M64, x < 0.0f ? 0.0f : x);
}

/* 3.93 ulp; all x; E D(t) for x < 0, 1 - E D(t) else, D(t) = erfcx(t/sqrt 2)/2 - t/sqrt(2 pi) = (t0 - t) P(q). */
INLINE_F32 float dgelu_f32(float x) {
    decay_f32 d = decay_square_f32(x, NORMAL_ARG_MAX, 0.5f);
    float t = at_most_f32(__builtin_fabsf(x), NORMAL_ARG_MAX), q = half_line_of_f32(t, 3.0f, -0.0f).q;
    float p = poly7_f32(q, q * q, 5.35964258e-2f, -1.40744224e-2f, 1.99824077e-4f, 1.09139842e-3f,
                        -7.89028709e-5f, -1.15280382e-4f, -1.07633150e-5f);
    p = FMAF(q, FMAF(q, p, -0.119975440f), 0.478297681f);
    float y = ((0.751791537f - t) - 1.21144495e-8f) * p * d.E_big;
    return x < 0.0f ? y * TWO_M64 : FMAF(y, -TWO_M64, 1.0f);
}

/* exp(-v), v = 2u = t (A + B t^2), A = 2 sqrt(2/pi), B = 0.044715 A, v as high and low part. 1.59375 is the top of A:
 * with so few bits the sum's rounding error is found exactly. */
INLINE_F32 decay_f32 decay_gelu_tanh_f32(float x) {
    float t = at_most_f32(__builtin_fabsf(x), GELU_TANH_ARG_MAX), h = t * t, l = product_tail_f32(t, t, h);
    float bh = 0.0713548139f * h, b_tail = product_tail_f32(0.0713548139f, h, bh);
    float s = 1.59375f + bh, s_tail = ((1.59375f - s) + bh) + b_tail;
    s_tail = s_tail + FMAF(2.39883240e-9f, h, FMAF(0.0713548139f, l, 2.01912161e-3f));
    float v = t * s;
    return decay_of_f32(-v, -FMAF(t, s_tail, product_tail_f32(t, s, v)));
}

/* 3.28 ulp; all x; x sigma(2u). */
INLINE_F32 float gelu_tanh_f32(float x) {
    decay_f32 d = decay_gelu_tanh_f32(x);
    float y = at_least_f32(x, -GELU_TANH_ARG_MAX) / (1.0f + d.E);
    return x < 0.0f ? y * d.E_big * TWO_M64 : y;
}

/* 5.09 ulp; all x; as dsilu with t v'(t) in place of t. */
INLINE_F32 float dgelu_tanh_f32(float x) {
    decay_f32 d = decay_gelu_tanh_f32(x);
    float t = at_most_f32(__builtin_fabsf(x), GELU_TANH_ARG_MAX), t2 = t * t;
    float slope = FMAF(0.214064449f, t2, 1.59576912f);
    float g = (0.752461433f - t) - 1.13396283e-8f;
    float p = poly6_f32(g, 2.46065688f, -9.99115258e-2f, 0.400426447f, 7.59576634e-2f, 3.10555808e-2f, 1.13847656e-2f);
    float w = __builtin_fabsf(g) < 0.25f ? g * p : FMAF(-0.214064449f * t, t2, FMAF(-1.59576912f, t, 1.0f) + d.E);
    float y = (x < 0.0f ? d.E_big * w : FMAF(d.E * t, slope, 1.0f + d.E)) / square_of_1_plus_f32(d.E);
    return x < 0.0f ? y * TWO_M64 : y;
}

/* ---- circular functions ---- */

/* x - n pi, for n + 1/2 as well. Fused: pi in parts of 11, 11, 24 and 24 bits. Else 11 bits each, so that the products of the
 * first four are exact; near a multiple of pi the third and fourth are what is left. */
INLINE_F32 float minus_n_pi_f32(float x, float n) {
    float r = FMAF(n, -3.140625f, x);
    r = FMAF(n, -9.67502594e-4f, r);
#ifdef MGX_FUSED
    r = FMAF(n, -1.50995788e-07f, r);
    return FMAF(n, -1.07806059e-14f, r);
#else
    r = FMAF(n, -1.50990672e-07f, r);
    r = FMAF(n, -5.12656584e-12f, r);
    return FMAF(n, -1.22464685e-16f, r);
#endif
}

/* sin r for |r| <= 1.66, its sign changed when n (in the low bit) is odd. */
INLINE_F32 float sin_poly_f32(float r, uint32_t n) {
    float z = r * r;
    float p = poly4_f32(z, -0.166666552f, 8.33295472e-3f, -1.98014430e-4f, 2.58788236e-6f);
    p = FMAF(r * z, p, r);
    return f32_of_bits(bits_of_f32(p) ^ (n << 31));
}

/* 1.85 ulp; |x| <= TRIG_MAX_F32; Cody-Waite reduction by pi, odd polynomial of degree 9. */
INLINE_F32 float sin_f32(float x) {
    float z = FMAF(x, 0.318309886f, ROUND_MAGIC);
    float y = sin_poly_f32(minus_n_pi_f32(x, z - ROUND_MAGIC), bits_of_f32(z));
    return x == 0.0f ? x : y;
}

/* 1.86 ulp; |x| <= TRIG_MAX_F32; cos(x) = -(-1)^n sin(x - (n + 1/2) pi). */
INLINE_F32 float cos_f32(float x) {
    float z = FMAF(x, 0.318309886f, -0.5f) + ROUND_MAGIC;
    return sin_poly_f32(minus_n_pi_f32(x, (z - ROUND_MAGIC) + 0.5f), bits_of_f32(z) + 1u);
}

/* 2.95 ulp; |x| <= TRIG_MAX_F32; reduction by pi/2, t or -1/t. */
INLINE_F32 float tan_f32(float x) {
    float n = FMAF(x, 0.636619772f, ROUND_MAGIC);
    int odd = (int)(bits_of_f32(n) & 1u);
    float r = minus_n_pi_f32(x, 0.5f * (n - ROUND_MAGIC)), z = r * r;
    float p = poly7_f32(z, z * z, 0.333333671f, 0.133320719f, 5.41261248e-2f, 2.09450237e-2f,
                        1.16964867e-2f, -9.83642531e-4f, 4.89643728e-3f);
    float t = FMAF(r * z, p, r);
    return (odd ? -1.0f : t) / (odd ? t : 1.0f);
}

/* atan a for |a| <= 1, an odd polynomial. */
INLINE_F32 float atan_poly_f32(float a) {
    float z = a * a;
    float p = poly8_f32(z, z * z, -0.333331525f, 0.199937671f, -0.142110035f, 0.106657855f,
                        -7.55172372e-2f, 4.32058573e-2f, -1.63641330e-2f, 2.91972281e-3f);
    return FMAF(a * z, p, a);
}

/* 2.04 ulp; all x; of t or -1/t, then plus pi/2. */
INLINE_F32 float atan_f32(float x) {
    float t = __builtin_fabsf(x), y = atan_poly_f32(t > 1.0f ? -1.0f / t : t);
    return __builtin_copysignf(t > 1.0f ? 1.57079637f + (y - 4.37113883e-8f) : y, x);
}

/* 2.2 ulp; all y, x; of the smaller by the larger, then from pi/2 and from pi. Equal infinities count as equal numbers. */
INLINE_F32 float atan2_f32(float y, float x) {
    float a = __builtin_fabsf(y), b = __builtin_fabsf(x), small = a < b ? a : b, large = a < b ? b : a;
    float t = small == large ? (small == 0.0f ? 0.0f : 1.0f) : small / large;
    float r = atan_poly_f32(x != x ? x : y != y ? y : t);
    r = a > b ? 1.57079637f - (r + 4.37113883e-8f) : r;
    return __builtin_copysignf(__builtin_copysignf(1.0f, x) < 0.0f ? 3.14159274f - (r + 8.74227766e-8f) : r, y);
}

/* asin t for t <= 1/2, or asin of sqrt((1 - t)/2), of which asin and acos have twice the value for larger t: s + s z P(z). */
INLINE_F32 float asin_half_f32(float t) {
    float z = t > 0.5f ? FMAF(-0.5f, t, 0.5f) : t * t, s = t > 0.5f ? __builtin_sqrtf(z) : t;
    float p = poly6_f32(z, 0.166666657f, 0.0750009492f, 0.0445993207f, 0.0311017279f, 0.017143717f, 0.0337007269f);
    return FMAF(s * z, p, s);
}

/* 2.31 ulp; all x. */
INLINE_F32 float asin_f32(float x) {
    float t = __builtin_fabsf(x), h = asin_half_f32(t);
    return __builtin_copysignf(t > 0.5f ? 1.57079637f - (2.0f * h + 4.37113883e-8f) : h, x);
}

/* 1.07 ulp; all x. */
INLINE_F32 float acos_f32(float x) {
    float t = __builtin_fabsf(x), h = asin_half_f32(t), side = __builtin_copysignf(h, x);
    float far = x > 0.0f ? 2.0f * h : 3.14159274f - (2.0f * h + 8.74227766e-8f);
    return t > 0.5f ? far : 1.57079637f - (side + 4.37113883e-8f);
}
