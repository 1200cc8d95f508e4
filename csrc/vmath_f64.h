/* vmath_f64.h: elementary functions on double, and the derivatives a network needs, written to be vectorised by the compiler.
 *
 * Every NAME_f64(double) is straight-line code: selects instead of branches, no tables, no libm, so that a plain loop over it becomes
 * AVX2 or AVX-512 code, and each lane computes the bits the scalar code computes. The including file defines FMA(a,b,c): one rounding
 * where the target has fused multiply-add, (a)*(b)+(c) elsewhere. Errors below are the largest found, in ulp of the true value, with FMA.
 *
 * Derivatives are computed from x in forms that do not cancel, never from a rounded output: sigma'(40) is 4e-18, not 0. Results below
 * 2^-1022 come out right because a scale 2^k is applied last, in two halves. Real roots of derivatives are divided out, as hi + lo.
 * Functions usually wanted together (tanh and sech2, gelu and dgelu, ...) call the same helper with the same argument: computed once.
 */
#ifndef VMATH_F64_H
#define VMATH_F64_H
#include <stdint.h>
#include <string.h>

#define INLINE_F64 static inline __attribute__((always_inline))      /* a call left standing in a loop would keep it scalar */

/* ---- bits, limits, polynomials ---- */
INLINE_F64 uint64_t bits_f64(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
INLINE_F64 double from_bits_f64(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
INLINE_F64 double at_most_f64(double x, double top) { return top < x ? top : x; }    /* NaN stays NaN in both */
INLINE_F64 double at_least_f64(double x, double low) { return x < low ? low : x; }
/* x < 0 said differently: two selects on the same comparison around a division would make gcc divide once for each side */
INLINE_F64 int left_f64(double x) { return __builtin_copysign(1.0, x) < 0.0; }
INLINE_F64 double clamp_f64(double x, double top) { return __builtin_copysign(at_most_f64(__builtin_fabs(x), top), x); }
INLINE_F64 double short_f64(double x) { return from_bits_f64(bits_f64(x) & ~UINT64_C(0x7ffffff)); }     /* 26 bits: exact products */
/* a*b - product, where product is a*b rounded: exact; without fused multiply-add by Dekker's splitting */
INLINE_F64 double product_tail_f64(double a, double b, double product)
{
#ifdef MGX_FUSED
    return FMA(a, b, -product);
#else
    double a_hi = short_f64(a), a_lo = a - a_hi, b_hi = short_f64(b), b_lo = b - b_hi;
    return ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
#endif
}
#define INF_F64 __builtin_inf()
#define NAN_F64 __builtin_nan("")

/* Hn: Horner's rule, degree n, constant term first. */
#define H1(x, c, d) FMA(d, x, c)
#define H2(x, c, ...) FMA(H1(x, __VA_ARGS__), x, c)
#define H3(x, c, ...) FMA(H2(x, __VA_ARGS__), x, c)
#define H4(x, c, ...) FMA(H3(x, __VA_ARGS__), x, c)
#define H5(x, c, ...) FMA(H4(x, __VA_ARGS__), x, c)
#define H6(x, c, ...) FMA(H5(x, __VA_ARGS__), x, c)
#define H7(x, c, ...) FMA(H6(x, __VA_ARGS__), x, c)
#define H8(x, c, ...) FMA(H7(x, __VA_ARGS__), x, c)
#define H9(x, c, ...) FMA(H8(x, __VA_ARGS__), x, c)
#define H10(x, c, ...) FMA(H9(x, __VA_ARGS__), x, c)
#define H11(x, c, ...) FMA(H10(x, __VA_ARGS__), x, c)

/* ---- exp core: exp(x + lo) = 2^k * (1 + q), |q| < 0.42, and k kept as the double ROUND + k, whose low bits hold 2046 + k ---- */
#define ROUND_F64 (0x1.8p52 + 2046)
typedef struct { double r, kd; } reduced_f64;
typedef struct { double q, kd; } exp_f64_parts;
INLINE_F64 reduced_f64 exp_reduce_f64(double x, double lo)              /* x + lo = k ln 2 + r, |r| <= ln(2)/2 */
{
    double kd = FMA(x, 0x1.71547652b82fep0, ROUND_F64), k = kd - ROUND_F64;
    double r = FMA(-k, 0x1.ef35793c7673p-45, FMA(-k, 0x1.62e42fefa38p-1, x) + lo);
    return (reduced_f64){r, kd};
}
INLINE_F64 exp_f64_parts exp_core_f64(double x, double lo)
{
    reduced_f64 c = exp_reduce_f64(x, lo);
    double r = c.r, r2 = r * r;
    double p = FMA(r,
        H4(r2, 0x1.5555555555558p-3, 0x1.111111110f8dp-7, 0x1.a01a01afbea9ap-13, 0x1.71ddf76e6f9b6p-19, 0x1.af61f4091c0cep-26),
        H4(r2, 0x1.0000000000001p-1, 0x1.5555555553cc4p-5, 0x1.6c16c178b540dp-10, 0x1.a019b88e95a6dp-16, 0x1.28920541dd794p-22));
    return (exp_f64_parts){FMA(r2, p, r), c.kd};
}
INLINE_F64 double pow2_f64(double kd, int shift)                       /* 2^(k + shift), if that is a normal number */
{ return from_bits_f64((bits_f64(kd) + (uint64_t)(int64_t)(shift - 1023)) << 52); }
INLINE_F64 double pow2_low_f64(double kd) { return from_bits_f64((bits_f64(kd) >> 1) << 52); }      /* 2^floor(k/2) */
INLINE_F64 double pow2_high_f64(double kd) { return from_bits_f64((bits_f64(kd) - (bits_f64(kd) >> 1)) << 52); }   /* 2^ceil(k/2) */

/* exp(-t - lo) for 0 <= t < 900: value is half * scale; half never underflows, and takes the factors that belong to the result */
typedef struct { double half, scale, value, q, kd; } decay_f64;
INLINE_F64 decay_f64 decay_of_f64(double t, double lo)
{
    exp_f64_parts c = exp_core_f64(-t, -lo);
    double s = pow2_low_f64(c.kd), half = FMA(s, c.q, s), scale = pow2_high_f64(c.kd);
    return (decay_f64){half, scale, half * scale, c.q, c.kd};
}
INLINE_F64 double half_times_1p_f64(decay_f64 e, double h)                /* e.half * (1 + h), rounded once */
{ double s = pow2_low_f64(e.kd); return FMA(s, FMA(h, e.q, h) + e.q, s); }
INLINE_F64 decay_f64 decay_abs_f64(double x) { return decay_of_f64(at_most_f64(__builtin_fabs(x), 760.0), 0.0); }     /* exp(-|x|) */
/* squares as s * s + (a - s)(a + s), s the upper half of a: one rounding of a^2 would cost exp(-a^2) up to 500 ulp */
INLINE_F64 double rest_of_square_f64(double a, double s) { return (a - s) * (a + s); }
INLINE_F64 decay_f64 decay_square_f64(double a)                        /* exp(-a^2), 0 <= a <= 28 */
{ double s = short_f64(a); return decay_of_f64(s * s, rest_of_square_f64(a, s)); }
INLINE_F64 decay_f64 decay_half_square_f64(double a)                   /* exp(-a^2 / 2), 0 <= a <= 39.5 */
{ double s = short_f64(a); return decay_of_f64(0.5 * (s * s), 0.5 * rest_of_square_f64(a, s)); }
INLINE_F64 double square_1p_f64(double e) { return FMA(e, e + 2.0, 1.0); }      /* (1 + e)^2, better than the product */

/* ---- log core: x = 2^k (1 + f), f in [-0.3, 0.42]; ln(1 + f) = 2 atanh(f / (2 + f)) ---- */
#define SQRT_HALF_BITS UINT64_C(0x3fe6a09e00000000)
#define EXP_BITS UINT64_C(0xfff0000000000000)
INLINE_F64 uint64_t log_split_f64(double x) { return bits_f64(x) + (UINT64_C(0x3ff0000000000000) - SQRT_HALF_BITS); }
INLINE_F64 double log_k_f64(uint64_t u) { return from_bits_f64((u >> 52) | UINT64_C(0x4330000000000000)) - (0x1p52 + 1023); }
INLINE_F64 double log_1p_core_f64(double f)
{
    double s = f / (2.0 + f), z = s * s, z2 = z * z;
    return FMA(s * z, FMA(z,
        H2(z2, 0x1.99999999952b9p-2, 0x1.c71c62d649d8cp-3, 0x1.39fdcbbceb4c6p-3),
        H3(z2, 0x1.5555555555558p-1, 0x1.2492492dfb9b8p-2, 0x1.7462b925fa03ep-3, 0x1.2b5f5b2f9f871p-3)), s + s);
}
typedef struct { double k, f; } log_f64_reduced;
INLINE_F64 log_f64_reduced log_reduce_f64(double x)                     /* x = 2^k (1 + f) */
{
    double small = x < 0x1p-1022 ? 52.0 : 0.0, y = x < 0x1p-1022 ? x * 0x1p52 : x;
    uint64_t u = log_split_f64(y);
    double m = from_bits_f64((u & ~EXP_BITS) + SQRT_HALF_BITS);
    return (log_f64_reduced){log_k_f64(u) - small, m - 1.0};
}
typedef struct { double k, ln; } log_f64_parts;
INLINE_F64 log_f64_parts log_core_f64(double x)
{
    log_f64_reduced c = log_reduce_f64(x);
    return (log_f64_parts){c.k, log_1p_core_f64(c.f)};
}
INLINE_F64 double log_special_f64(double x, double y)     /* y = log(x) for ordinary x: put in 0, negative, inf, NaN */
{
    double finite = x == INF_F64 ? x : y, other = x == 0.0 ? -INF_F64 : NAN_F64;
    return x > 0.0 ? finite : other;
}

/* ---- exponential and logarithm ---- */
/* 1.08 ulp: all x; k ln 2 + r, degree 11 (Cody-Waite; minimax by Sollya), scale in two steps */
INLINE_F64 double exp_f64(double x)
{
    exp_f64_parts c = exp_core_f64(clamp_f64(x, 760.0), -0.0);
    double s = pow2_low_f64(c.kd);
    return FMA(s, c.q, s) * pow2_high_f64(c.kd);
}
/* (2^r - 1 - r ln 2) / r^2 for |r| <= 1/2 */
INLINE_F64 double exp2_core_f64(double r)
{
    double r2 = r * r;
    return FMA(r,
        H4(r2, 0x1.c6b08d704a0c3p-5, 0x1.5d87fe78a489fp-10, 0x1.ffcbfc6b99f13p-17, 0x1.b524ee9836323p-24, 0x1.e9ea11ebac74bp-32),
        H4(r2, 0x1.ebfbdff82c59p-3, 0x1.3b2ab6fba39c4p-7, 0x1.4309130329661p-13, 0x1.62bfe52fa973bp-20, 0x1.e5e88cb769192p-28));
}
#define LN2_F64 0x1.62e42fefa39efp-1
#define LN2_TAIL_F64 0x1.abc9e3b39803fp-56
/* 0.96 ulp: all x; as exp, exact reduction */
INLINE_F64 double exp2_f64(double x)
{
    double y = clamp_f64(x, 1080.0), kd = y + ROUND_F64, r = y - (kd - ROUND_F64);
    double q = FMA(r, LN2_F64, FMA(r * r, exp2_core_f64(r), r * LN2_TAIL_F64)), s = pow2_low_f64(kd);
    return FMA(s, q, s) * pow2_high_f64(kd);
}
/* 2.28 ulp: all x; 2^k q + (2^k - 1), exact near 0 */
INLINE_F64 double expm1_f64(double x)
{
    exp_f64_parts c = exp_core_f64(at_least_f64(at_most_f64(x, 710.0), -60.0), -0.0);
    double s = pow2_f64(c.kd, -1), y = 2.0 * FMA(s, c.q, s - 0.5);
    return __builtin_fabs(x) < 0x1p-54 ? x : y;
}
/* 1.97 ulp: all x; 2 atanh(f / (2 + f)) + k ln 2, as fdlibm's e_log */
INLINE_F64 double log_f64(double x)
{
    log_f64_parts c = log_core_f64(x);
    return log_special_f64(x, FMA(c.k, 0x1.62e42fefa38p-1, FMA(c.k, 0x1.ef35793c7673p-45, c.ln)));
}
/* 2.79 ulp: all x; exact at powers of 2 */
INLINE_F64 double log2_f64(double x)
{
    log_f64_parts c = log_core_f64(x);
    return log_special_f64(x, FMA(c.ln, 0x1.71547652b82fep0, FMA(c.ln, 0x1.777d0ffda0d24p-56, c.k)));
}
/* 2.99 ulp: all x */
INLINE_F64 double log10_f64(double x)
{
    log_f64_parts c = log_core_f64(x);
    return log_special_f64(x, FMA(c.k, 0x1.34413509f7p-2, FMA(c.ln, 0x1.bcb7b1526e50ep-2, FMA(c.ln, 0x1.95355baaafad3p-57,
            c.k * 0x1.3fde623e2566bp-43))));
}
/* 2.53 ulp: all x; f = 2^-k x + (2^-k - 1) is rounded once, so no correction term */
INLINE_F64 double log1p_f64(double x)
{
    uint64_t u = log_split_f64(1.0 + x);
    double s = from_bits_f64((UINT64_C(2048) << 52) - (u & EXP_BITS)), k = log_k_f64(u);      /* s = 4 * 2^-k */
    double f = FMA(0.25 * x, s, FMA(0.25, s, -1.0));
    double y = FMA(k, 0x1.62e42fefa38p-1, FMA(k, 0x1.ef35793c7673p-45, log_1p_core_f64(f)));
    double finite = x == INF_F64 ? x : __builtin_fabs(x) < 0x1p-54 ? x : y, other = x == -1.0 ? -INF_F64 : NAN_F64;
    return x > -1.0 ? finite : other;
}

/* ---- powers: x^y = 2^(y log2 |x|) and a sign; `ordinary` says that 0 < x < inf and |y| < inf ---- */
/* log2 of t >= 0, given what it is for ordinary t */
INLINE_F64 double log2_special_f64(double t, double y) { return t == 0.0 ? -INF_F64 : t < INF_F64 ? y : t; }
/* C99's pow from |x|^y for ordinary operands. Whole numbers are those that do not change when 2^52 pushes a fraction out,
 * even ones those of which the half is whole. */
INLINE_F64 double pow_special_f64(double x, double y, double size)
{
    double t = __builtin_fabs(x), a = __builtin_fabs(y), h = 0.5 * a;
    int whole = (a >= 0x1p52) | ((a + 0x1p52) - 0x1p52 == a), even = (a >= 0x1p53) | ((h + 0x1p52) - 0x1p52 == h);
    size = (t == 1.0) & (a <= INF_F64) ? 1.0 : size;
    double other = (t > 0.0) & (t < INF_F64) ? NAN_F64 : size, left = whole ? (even ? size : -size) : other;
    double z = left_f64(x) ? left : size;
    return (y == 0.0) | (x == 1.0) ? 1.0 : z;
}
/* 0.501 ulp of float32: all x, y; in double, which neither overflows nor loses digits below the normal range */
INLINE_F64 float pow_lanes_f32(float x, float y, const int ordinary)
{
    double t = __builtin_fabs((double)x);
    log_f64_reduced c = log_reduce_f64(t);
    double s = c.f / (2.0 + c.f), z = s * s;
    double l = FMA(s, H5(z, 0x1.71547652b824dp+1, 0x1.ec709dc545890p-1, 0x1.2776c2878cd46p-1, 0x1.a61a38f4dc499p-2,
            0x1.4793925a6d81fp-2, 0x1.21cbe9e203ab9p-2), c.k);
    double w = clamp_f64(y * (ordinary ? l : log2_special_f64(t, l)), 200.0), kd = w + ROUND_F64, r = w - (kd - ROUND_F64), r2 = r * r;
    double e = FMA(r,
        H3(r2, 0x1.62e42fef9caa5p-1, 0x1.c6b08da7b5ff0p-5, 0x1.5d87747ec37c6p-10, 0x1.00c1c598f4520p-16),
        H3(r2, 0x1.ffffffffa5a44p-1, 0x1.ebfbe0ac296cdp-3, 0x1.3b29d6f1f418cp-7, 0x1.446de6e76e98fp-13));
    double size = e * pow2_f64(kd, 0);
    return (float)(ordinary ? size : pow_special_f64(x, y, size));
}
/* 0.6 ulp: all x, y; log2 as 2/ln(2) atanh(f / (2 + f)) and all sums and products up to 2^y as high and low part */
INLINE_F64 double pow_lanes_f64(double x, double y, const int ordinary)
{
    double t = __builtin_fabs(x);
    log_f64_reduced c = log_reduce_f64(t);
    double d = 2.0 + c.f, d_lo = c.f - (d - 2.0), inverse = 1.0 / d;
    double s = c.f * inverse, s_lo = -FMA(s, d_lo, product_tail_f64(s, d, c.f)) * inverse;
    double z = s * s, z_lo = FMA(s + s, s_lo, product_tail_f64(s, s, z)), z2 = z * z;
    double p = z * FMA(z,
        H3(z2, 0x1.a61762a7adfb0p-2, 0x1.0c9a84c061a67p-2, 0x1.89ff02a917797p-3, 0x1.5a9517c09477fp-3),
        H3(z2, 0x1.2776c50ef9bfep-1, 0x1.484b13d79b061p-2, 0x1.c68f2e1e7295ap-3, 0x1.59db8178fc504p-3));
    double q = 0x1.ec709dc3a03fdp-1 + p, q_lo = ((0x1.ec709dc3a03fdp-1 - q) + p) + 0x1.d27f05548af0cp-55;
    double u = z * q, u_lo = product_tail_f64(z, q, u) + FMA(z, q_lo, z_lo * q);
    double g = 0x1.71547652b82fep+1 + u, g_lo = ((0x1.71547652b82fep+1 - g) + u) + (u_lo + 0x1.777d0ffda0d24p-55);
    double v = s * g, v_lo = product_tail_f64(s, g, v) + FMA(s, g_lo, s_lo * g);
    double l = c.k + v, l_lo = ((c.k - l) + v) + v_lo;
    l = ordinary ? l : log2_special_f64(t, l);
    double w = y * l, w_lo = FMA(y, l_lo, product_tail_f64(y, l, w));
    w_lo = __builtin_fabs(w) < 1100.0 ? w_lo : 0.0;
    w = clamp_f64(w, 1100.0);
    double kd = w + ROUND_F64, near = w - (kd - ROUND_F64), r = near + w_lo, r_lo = (near - r) + w_lo;
    double a = r * LN2_F64, a_lo = FMA(r_lo, LN2_F64, FMA(r, LN2_TAIL_F64, product_tail_f64(r, LN2_F64, a)));
    double e = 1.0 + a, e_lo = ((1.0 - e) + a) + FMA(r * r, exp2_core_f64(r), a_lo);
    double size = (e + e_lo) * pow2_low_f64(kd) * pow2_high_f64(kd);
    return ordinary ? size : pow_special_f64(x, y, size);
}

/* ---- the length of a pair ---- */
/* 0.5 ulp of float32: all x, y; squares of float32 are numbers of double */
INLINE_F64 float hypot_f32(float x, float y)
{
    double a = __builtin_fabs((double)x), b = __builtin_fabs((double)y), r = __builtin_sqrt(a * a + b * b);
    return (float)((a == INF_F64) | (b == INF_F64) ? INF_F64 : r);
}
/* 1.19 ulp: all x, y, in either order; in units of a power of 2, by which neither square overflows, and the larger does not
   vanish */
INLINE_F64 double hypot_f64(double x, double y)
{
    double a = __builtin_fabs(x), b = __builtin_fabs(y), large = a < b ? b : a, small = a < b ? a : b;
    uint64_t up = bits_f64(at_most_f64(at_least_f64(large, 0x1p-1022), 0x1p1022)) & EXP_BITS;
    double unit = from_bits_f64(up), inverse = from_bits_f64((UINT64_C(2046) << 52) - up);
    double u = large * inverse, v = small * inverse, r = __builtin_sqrt(FMA(u, u, v * v)) * unit;
    return (a == INF_F64) | (b == INF_F64) ? INF_F64 : r;
}

/* ---- sigmoid and its integral ---- */
/* 2.32 ulp: all x; e = exp(-|x|): 1 / (1 + e), or e / (1 + e) on the left */
INLINE_F64 double sigmoid_f64(double x)
{
    double e = decay_abs_f64(x).value;
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}
/* 2.30 ulp: sigmoid'(x) = sigmoid(x) sigmoid(-x), all x */
INLINE_F64 double dsigmoid_f64(double x)
{
    double e = decay_abs_f64(x).value;
    return e / square_1p_f64(e);
}
/* 2.53 ulp: log(1 + exp(x)), all x; max(x, 0) + log1p(e) with log1p(e) = 2 atanh(e / (2 + e)) over all of 0 <= e <= 1 */
INLINE_F64 double softplus_f64(double x)
{
    double e = decay_abs_f64(x).value, t = (e + e) / (2.0 + e), z = t * t, z2 = z * z;
    double y = FMA(t * z, FMA(z,
        H4(z2, 0x1.9999999999b13p-7, 0x1.c71c71ce0878bp-12, 0x1.3b13a629cdd54p-16, 0x1.e1306e2e0a9d1p-21, 0x1.42997f53605fap-25),
        H5(z2, 0x1.5555555555555p-4, 0x1.2492492483f3cp-9, 0x1.745d16afaaaf4p-14, 0x1.1114a5f2e0d03p-18, 0x1.b846f74a5d182p-23,
            0x1.32ac7a1e0270bp-26)), t);
    return x > 0.0 ? x + y : y;
}

/* ---- hyperbolic ---- */
INLINE_F64 decay_f64 decay_double_f64(double x) { double a = at_most_f64(__builtin_fabs(x), 380.0); return decay_of_f64(a + a, 0.0); }
/* 2.61 ulp: all x; -m / (2 + m), m = expm1(-2|x|) */
INLINE_F64 double tanh_f64(double x)
{
    decay_f64 e = decay_double_f64(x);
    double s = pow2_f64(e.kd, 0), m = __builtin_fabs(x) > 20.0 ? -1.0 : FMA(s, e.q, s - 1.0);
    return __builtin_copysign(m / (2.0 + m), x);
}
/* 2.30 ulp: tanh'(x), all x; 4e / (1 + e)^2, e = exp(-2|x|) */
INLINE_F64 double sech2_f64(double x)
{
    decay_f64 e = decay_double_f64(x);
    return 4.0 * e.half / square_1p_f64(e.value) * e.scale;
}
/* |x| = k ln 2 + r: sinh and cosh of k ln 2 (halved, against overflow) and of r, joined by the addition theorem */
typedef struct { double sk, ck, sr, cr; } hyper_f64_parts;
INLINE_F64 hyper_f64_parts hyper_core_f64(double x)
{
    reduced_f64 c = exp_reduce_f64(at_most_f64(__builtin_fabs(x), 710.6), -0.0);
    double up = pow2_f64(c.kd, -2);
    double down = c.kd > ROUND_F64 + 100 ? 0.0 : from_bits_f64((UINT64_C(3067) - bits_f64(c.kd)) << 52);
    double r = c.r, z = r * r;
    double sr = FMA(r * z, H4(z, 0x1.5555555555556p-3, 0x1.1111111110704p-7, 0x1.a01a01a908b6bp-13, 0x1.71de0a21eeadep-19,
            0x1.af3f48761aac4p-26), r);
    double cr = FMA(z * z, H4(z, 0x1.5555555555555p-5, 0x1.6c16c16c16d9ap-10, 0x1.a01a01a1d01a8p-16, 0x1.27e4e9538130fp-22,
            0x1.1f594b6f198cep-29), 0.5 * z);      /* cosh(r) - 1 */
    return (hyper_f64_parts){up - down, up + down, sr, cr};
}
/* 2.55 ulp: all x; no division, no cancellation, no early overflow */
INLINE_F64 double sinh_f64(double x)
{
    hyper_f64_parts c = hyper_core_f64(x);
    double y = __builtin_copysign(2.0 * FMA(c.ck, c.sr, FMA(c.sk, c.cr, c.sk)), x);
    return __builtin_fabs(x) < 0x1p-28 ? x : y;
}
/* 2.15 ulp: all x */
INLINE_F64 double cosh_f64(double x)
{
    hyper_f64_parts c = hyper_core_f64(x);
    return 2.0 * FMA(c.sk, c.sr, FMA(c.ck, c.cr, c.ck));
}

/* ---- error function and the normal distribution ---- */
/* (1 + 1.75 t) erfcx(t) - 1 for p = t / (t + 3.5), 0 <= t <= 28: p times a polynomial in 2p - 1; it stays within +-0.2 */
INLINE_F64 double erfcx_core_f64(double p)
{
    double q = FMA(2.0, p, -1.0), q2 = q * q;
    return p * FMA(q,
        H10(q2, -0x1.0f7f254571b8ep-1, -0x1.c24ebb2a52d93p-2, -0x1.e8d37512ec59fp-4, -0x1.7af45af7c332ep-8, 0x1.188d5fa808227p-10,
            -0x1.b53da8007882dp-14, 0x1.397174643c924p-17, -0x1.fea226950ef65p-21, 0x1.2a95c88f792c7p-23, -0x1.f0f099d9a8c45p-26,
            0x1.4cb1e76a849c6p-28),
        H11(q2, 0x1.b4170d354795cp-3, 0x1.23e12a2ce7217p-1, 0x1.0c3d918b5fe47p-2, 0x1.387d3d5e69fe5p-5, -0x1.904eb37a7ef17p-10,
            -0x1.cb91be469dacap-14, 0x1.1267776fac8c4p-15, -0x1.7a644c494641ep-18, 0x1.e5ba012b725e4p-21, -0x1.288a7e346be66p-23,
            0x1.04bee1bd11271p-26, -0x1.79cb29c932c71p-35));
}
/* 1.59 ulp: all x; odd polynomial for |x| < 1 (degree 23), else 1 - exp(-x^2) erfcx(|x|) */
INLINE_F64 double erf_f64(double x)
{
    double z = x * x, z2 = z * z;
    double near = FMA(x, FMA(z,
        H5(z2, -0x1.812746b0379c1p-2, -0x1.b82ce31203772p-6, -0x1.c02db0665e53dp-11, -0x1.f4ca838adb73bp-17, -0x1.5c131500d3f88p-23,
            -0x1.ac9585a44fe29p-31),
        H5(z2, 0x1.06eba8214db68p-3, 0x1.ce2f21a040f66p-4, 0x1.565bccfa44156p-8, 0x1.f9a2be4f731a1p-14, 0x1.b981d78881a5dp-20,
            0x1.d76af6ca49787p-27)), x);
    double a = at_most_f64(__builtin_fabs(x), 28.0), y = 1.0 / (a + 4.0), q = FMA(-8.0, y, 1.0), q2 = q * q;
    double w = y * FMA(q,
        H4(q2, -0x1.f3fe312b43b28p-1, -0x1.14ea76fd75a62p-1, -0x1.644d03491dad7p-3, -0x1.afed15ef04652p-6, -0x1.60b220219255ap-11),
        H5(q2, 0x1.18932bf378302p0, 0x1.8be20d7bab90ap-1, 0x1.52cdee47f82eap-2, 0x1.39184a53d6a3ap-4, 0x1.84e990f430f6p-8,
            -0x1.bf03e3314021p-11));      /* erfcx(a) for a >= 1, to the absolute accuracy needed here */
    double far = FMA(-decay_square_f64(a).value, w, 1.0);
    return a < 1.0 ? near : __builtin_copysign(far, x);
}
/* 2.90 ulp: all x; exp(-x^2) erfcx(|x|) (the idea of M. Shepherd and J. Laframboise 1981), 2 - that on the left */
INLINE_F64 double erfc_f64(double x)
{
    double t = at_most_f64(__builtin_fabs(x), 28.0);
    decay_f64 e = decay_square_f64(t);
    double y = half_times_1p_f64(e, erfcx_core_f64(t / (t + 3.5))) / FMA(1.75, t, 1.0) * e.scale;
    return x < 0.0 ? 2.0 - y : y;
}
/* 1.21 ulp: exp(-x^2), all x */
INLINE_F64 double gauss_f64(double x) { return decay_square_f64(at_most_f64(__builtin_fabs(x), 28.0)).value; }
/* 2.29 ulp: exp(-x^2 / 2) / sqrt(2 pi), all x */
INLINE_F64 double normpdf_f64(double x)
{
    decay_f64 e = decay_half_square_f64(at_most_f64(__builtin_fabs(x), 39.5));
    return e.half * 0x1.9884533d43651p-2 * e.scale;
}

/* ---- gated units ---- */
/* 2.96 ulp: x sigmoid(x), all x */
INLINE_F64 double silu_f64(double x)
{
    decay_f64 e = decay_abs_f64(x);
    double y = (left_f64(x) ? at_least_f64(x, -760.0) * e.half : x) / (1.0 + e.value);
    return x < 0.0 ? y * e.scale : y;
}
/* 4.15 ulp: silu'(x), all x; left of 0: e (1 + x + exp(x)) / (1 + e)^2, its root at -1.278 divided out for |x + 1.278| < 1/64 */
INLINE_F64 double dsilu_f64(double x)
{
    decay_f64 e = decay_abs_f64(x);
    double c = clamp_f64(x, 760.0), s = e.scale * pow2_low_f64(e.kd), far = FMA(s, e.q, (c + 1.0) + s);      /* 1 + x + exp(x) */
    double d = c + 0x1.474973c84120bp0;
    double near = (d + 0x1.f8d74bc9ac154p-54) * H5(d, 0x1.474973c84120cp0, 0x1.1d25cf210482ep-3, 0x1.7c3269811a2bep-5,
            0x1.7c3269813ac29p-7, 0x1.302902358ed17p-9, 0x1.958bc902af8dep-12);
    double n = __builtin_fabs(d) < 0x1p-6 ? near : far, right = FMA(c, e.value, 1.0 + e.value);
    double y = (left_f64(x) ? n * e.half : right) / square_1p_f64(e.value);
    return x < 0.0 ? y * e.scale : y;
}
/* Phi(-a) = exp(-a^2 / 2) erfcx(a / sqrt 2) / 2, a = |x|, p as for erfcx */
typedef struct { decay_f64 e; double a, p; } gelu_f64_parts;
INLINE_F64 gelu_f64_parts gelu_core_f64(double x)
{
    double a = at_most_f64(__builtin_fabs(x), 39.5);
    return (gelu_f64_parts){decay_half_square_f64(a), a, a / (a + 0x1.3cc8a99af5453p2)};
}
/* 3.54 ulp: x Phi(x), all x; max(x, 0) - y, y = a Phi(-a) */
INLINE_F64 double gelu_f64(double x)
{
    gelu_f64_parts c = gelu_core_f64(x);
    double y = half_times_1p_f64(c.e, erfcx_core_f64(c.p)) * c.a / FMA(0x1.3cc8a99af5453p1, c.a, 2.0) * c.e.scale;
    return x < 0.0 ? -y : x - y;
}
/* 4.01 ulp: gelu'(x), all x; Phi(-a) - a phi(a) = exp(-a^2 / 2) (0.7518 - a) times a polynomial, or 1 - that on the right */
INLINE_F64 double dgelu_f64(double x)
{
    gelu_f64_parts c = gelu_core_f64(x);
    double q = FMA(2.0, c.p, -1.0), q2 = q * q, root = (0x1.80ead197f00b4p-1 - c.a) + -0x1.13e74c58cada8p-56;
    double p = FMA(q, FMA(q,
        H9(q2, 0x1.f02ee82ddfed9p-5, 0x1.1df2b8d3a35fdp-6, 0x1.17d5f4d98bb6fp-9, -0x1.0753867fb61b4p-15, -0x1.e5b9470f2c12ap-18,
            0x1.4a5d42eb609e8p-20, -0x1.6148a1c6625e6p-23, 0x1.797025fea2fe3p-26, -0x1.70643cf3160a8p-29, 0x1.81ee0b8a00f08p-33),
        H9(q2, -0x1.724faa5e22eddp-4, -0x1.2103469a49eabp-5, -0x1.cdb9413b8caf4p-8, -0x1.86730dca01f11p-12, 0x1.507d8b1eb91b2p-15,
            -0x1.4dc21432b8101p-19, 0x1.e1dfa504e3dep-24, -0x1.a4b32cf5c995ap-30, -0x1.150ddcb30469cp-33, -0x1.4f25ccdf6433bp-34)),
            0x1.cebc66f8b8c3cp-2);
    double y = p * root * c.e.half * c.e.scale;
    return x > 0.0 ? 1.0 - y : y;
}
/* e = exp(-2u), u = sqrt(2/pi) (a + 0.044715 a^3), a = |x|; slope = d(2u)/da
 * exact products of short numbers: a^2 = z + zl, 2u/a = w + wl */
typedef struct { decay_f64 e; double a, slope; } gelu_tanh_f64_parts;
INLINE_F64 gelu_tanh_f64_parts gelu_tanh_core_f64(double x)
{
    double a = at_most_f64(__builtin_fabs(x), 22.0), s = short_f64(a), z = short_f64(a * a);
    double zl = (s * s - z) + rest_of_square_f64(a, s), w = short_f64(FMA(0x1.2444f28p-4, z, 0x1.988453p0));
    double wl = FMA(0x1.2444f28p-4, z, 0x1.988453p0 - w) + FMA(0x1.26c5a57a4def1p-31, z, FMA(0x1.2444f2a4d8b4bp-4, zl,
            0x1.ea1b284687e5ap-27));
    double v = s * w, vl = FMA(a, wl, (a - s) * w);
    return (gelu_tanh_f64_parts){decay_of_f64(v, vl), a, FMA(0x1.b6676bf7450fp-3, a * a, 0x1.9884533d43651p0)};
}
/* 2.95 ulp: x sigmoid(2u), all x */
INLINE_F64 double gelu_tanh_f64(double x)
{
    gelu_tanh_f64_parts c = gelu_tanh_core_f64(x);
    double y = (left_f64(x) ? at_least_f64(x, -22.0) * c.e.half : x) / (1.0 + c.e.value);
    return x < 0.0 ? y * c.e.scale : y;
}
/* 5.09 ulp: gelu_tanh'(x), all x; left of 0: e (1 + e - a d(2u)/da) / (1 + e)^2, its root at -0.7525 divided out around it */
INLINE_F64 double dgelu_tanh_f64(double x)
{
    gelu_tanh_f64_parts c = gelu_tanh_core_f64(x);
    double e = c.e.value;
    double d = c.a - 0x1.81429f9e97e4dp-1;
    double near = (d - -0x1.4f523ed77dbdcp-55) * H11(d, -0x1.3af6cd05624f6p1, -0x1.993cd34bf4f0ep-4, -0x1.9a0ef5cdf3597p-2,
            0x1.3720c65c9204cp-4, -0x1.f37b831c188d4p-6, 0x1.721f46ce3a847p-7, -0x1.e3b48b01c1a39p-9, 0x1.2e3c255e1cbf9p-10,
            -0x1.75cd45e49d656p-12, 0x1.b04565a37b331p-14, -0x1.dd848ce3252bp-16, 0x1.028d1de994835p-17);
    double n = __builtin_fabs(d) < 0.25 ? near : FMA(-c.a, c.slope, 1.0 + e), right = FMA(c.a * c.slope, e, 1.0 + e);
    double y = (left_f64(x) ? n * c.e.half : right) / square_1p_f64(e);
    return x < 0.0 ? y * c.e.scale : y;
}
/* tanh(softplus(x)) = n / (n + 2), n = exp(x) (exp(x) + 2); for x >= 0 both multiplied by exp(-2x) */
INLINE_F64 double mish_den_f64(double x, double e) { return left_f64(x) ? FMA(e, e + 2.0, 2.0) : FMA(e + e, e + 1.0, 1.0); }
/* 3.29 ulp: x tanh(softplus(x)), all x */
INLINE_F64 double mish_f64(double x)
{
    decay_f64 e = decay_abs_f64(x);
    double c = at_least_f64(x, -760.0), left = FMA(c, e.value, c + c) * e.half;
    double y = (left_f64(x) ? left : x * FMA(2.0, e.value, 1.0)) / mish_den_f64(x, e.value);
    return x < 0.0 ? y * e.scale : y;
}
/* 5.10 ulp: mish'(x), all x; rational in exp(-|x|) and x, its root at -1.1924 divided out around it */
INLINE_F64 double dmish_f64(double x)
{
    decay_f64 e = decay_abs_f64(x);
    double c = clamp_f64(x, 760.0), v = e.value, den = mish_den_f64(x, v);
    double far = FMA(v, FMA(v, 4.0 + v, FMA(4.0, c, 6.0)), 4.0 * (c + 1.0));
    double d = c + 0x1.31432c0d12d84p0;
    double near = (d + 0x1.bf319154da21p-55) * H11(d, 0x1.9a1c155f7b7d1p2, 0x1.21b0c7fb83ba1p1, 0x1.49433e20bcf66p0,
            0x1.1d9a628eeac97p-1, 0x1.ab14503da0571p-3, 0x1.259c961367d6dp-4, 0x1.7cd9d962aab18p-6, 0x1.d3c3ce1b64629p-8,
            0x1.0eeaecfd470f2p-9, 0x1.26c3a070f020cp-11, 0x1.2f85bade2db1p-13, 0x1.215c87b1c3a46p-15);
    double n = __builtin_fabs(d) < 0.25 ? near : far;
    double right = FMA(v, FMA(v, FMA(v, FMA(4.0, c, 4.0), FMA(4.0, c, 6.0)), 4.0), 1.0);
    double y = (left_f64(x) ? n * e.half : right) / (den * den);
    return x < 0.0 ? y * e.scale : y;
}

/* ---- trigonometric: for |x| <= TRIG_MAX_F64; pi in four parts, the first three short enough for exact products ---- */
#define TRIG_MAX_F64 0x1p26
INLINE_F64 double minus_k_pi_f64(double x, double k)
{ return FMA(-k, 0x1.45c06e0e68948p-85, FMA(-k, 0x1.a62633p-57, FMA(-k, 0x1.10b461p-29, FMA(-k, 0x1.921fb54p1, x)))); }
INLINE_F64 double sin_core_f64(double r)      /* |r| <= pi/2 */
{
    double z = r * r, z2 = z * z;
    return FMA(r * z, FMA(z, FMA(z,
        H2(z2, -0x1.a01a01a0136ffp-13, -0x1.ae6454656f6ddp-26, -0x1.ae3ac4e334b69p-41),
        H3(z2, 0x1.11111111110bap-7, 0x1.71de3a51d43eap-19, 0x1.6123add93d9f3p-33, 0x1.873a4710fbd2ap-49)), -0x1.5555555555555p-3), r);
}
/* 2.12 ulp: |x| <= TRIG_MAX_F64; x = k pi + r (Cody-Waite), degree 17 */
INLINE_F64 double sin_f64(double x)
{
    double kd = FMA(x, 0x1.45f306dc9c883p-2, 0x1.8p52), r = minus_k_pi_f64(x, kd - 0x1.8p52);
    double y = sin_core_f64(from_bits_f64(bits_f64(r) ^ (bits_f64(kd) << 63)));
    return x == 0.0 ? x : y;
}
/* 2.31 ulp: |x| <= TRIG_MAX_F64; x = (k + 1/2) pi + r */
INLINE_F64 double cos_f64(double x)
{
    double kd = FMA(x, 0x1.45f306dc9c883p-2, -0.5) + (0x1.8p52 + 1.0), r = minus_k_pi_f64(x, (kd - (0x1.8p52 + 1.0)) + 0.5);
    return sin_core_f64(from_bits_f64(bits_f64(r) ^ (bits_f64(kd) << 63)));
}
/* 2.91 ulp: |x| <= TRIG_MAX_F64; x = k pi/2 + r + lo, sin/cos or cos/-sin */
INLINE_F64 double tan_f64(double x)
{
    double kd = FMA(x, 0x1.45f306dc9c883p-1, 0x1.8p52), k = kd - 0x1.8p52;
    double x2 = FMA(-k, 0x1.10b461p-30, FMA(-k, 0x1.921fb54p0, x)), r = FMA(-k, 0x1.a62633p-58, x2);
    double lo = FMA(-k, 0x1.45c06e0e68948p-86, FMA(-k, 0x1.a62633p-58, x2 - r));      /* x = k pi/2 + r + lo */
    double z = r * r, z2 = z * z;
    double s = FMA(r * z, FMA(z,
        H2(z2, 0x1.1111111110c6fp-7, 0x1.71de37aa04037p-19, 0x1.5e0e7c8494439p-33),
        H2(z2, -0x1.5555555555555p-3, -0x1.a01a019e9b904p-13, -0x1.ae6018a4d9a37p-26)), lo) + r;
    double c = 1.0 - FMA(r, lo, FMA(-z2, FMA(z,
        H2(z2, -0x1.6c16c16c168c3p-10, -0x1.27e4f9fff04eep-22, -0x1.907113c409e73p-37),
        H2(z2, 0x1.5555555555555p-5, 0x1.a01a019f3628bp-16, 0x1.1eeb549081fd2p-29)), 0.5 * z));
    uint64_t odd = bits_f64(kd) << 63;
    double side = from_bits_f64(bits_f64(1.0) | odd), y = (side < 0.0 ? c : s) / (side < 0.0 ? s : c);
    return x == 0.0 ? x : from_bits_f64(bits_f64(y) ^ odd);
}
/* atan(w) - w for 0 <= w <= 1: odd, degree 41 */
INLINE_F64 double atan_rest_f64(double w)
{
    double z = w * w, z2 = z * z;
    return w * z * FMA(z, FMA(z,
        H8(z2, -0x1.249249247bfe2p-3, -0x1.745d1629d2cfap-4, -0x1.111022acfa697p-4, -0x1.aec5c05a22e3ap-5, -0x1.5d73a7a8bd63ap-5,
            -0x1.01f239f60306ep-5, -0x1.0329a043c2acbp-6, -0x1.d9860aa6d8c2p-9, -0x1.b82dce8e13a52p-13),
        H9(z2, 0x1.9999999999717p-3, 0x1.c71c71bd6d439p-4, 0x1.3b139d554f918p-4, 0x1.e1d2171a5c83ep-5, 0x1.8444921e83daap-5,
            0x1.342771c2a300bp-5, 0x1.88d42ed6165fdp-6, 0x1.193ce762e0caap-7, 0x1.1e928ab96fc3bp-10, 0x1.4085098610d74p-16)),
            -0x1.5555555555555p-2);
}
/* 2.60 ulp: all x; of min(|x|, 1/|x|) */
INLINE_F64 double atan_f64(double x)
{
    double a = __builtin_fabs(x), w = (a > 1.0 ? 1.0 : a) / (a > 1.0 ? a : 1.0), y = atan_rest_f64(w);
    double t = a > 1.0 ? 0x1.921fb54442d18p0 - (w + (y - 0x1.1a62633145c07p-54)) : w + y;
    return __builtin_copysign(t, x);
}
/* 2.14 ulp: all y, x; of the smaller by the larger, then from pi/2 and from pi; equal infinities count as equal numbers */
INLINE_F64 double atan2_f64(double y, double x)
{
    double a = __builtin_fabs(y), b = __builtin_fabs(x), small = a < b ? a : b, large = a < b ? b : a;
    double t = small == large ? (small == 0.0 ? 0.0 : 1.0) : small / large;
    t = x != x ? x : y != y ? y : t;
    double r = atan_rest_f64(t);
    double half = a > b ? -1.0 : 1.0, start = (a > b ? 0x1.921fb54442d18p0 : 0.0), rest = (a > b ? 0x1.1a62633145c07p-54 : 0.0);
    int left = left_f64(x);
    half = left ? -half : half;
    start = left ? 0x1.921fb54442d18p1 - start : start, rest = left ? 0x1.1a62633145c07p-53 - rest : rest;
    return __builtin_copysign(start + (half * t + (half * r + rest)), y);
}
/* asin(t) as s + rest, for t <= 1/2; else half of acos(t), with s = sqrt((1 - t) / 2) */
typedef struct { double s, rest; } asin_f64_parts;
INLINE_F64 asin_f64_parts asin_half_f64(double t)
{
    double z = t > 0.5 ? FMA(-0.5, t, 0.5) : t * t, s = t > 0.5 ? __builtin_sqrt(z) : t, z2 = z * z;
    return (asin_f64_parts){s, s * z * FMA(z,
        H5(z2, 0x1.3333333332ec4p-4, 0x1.f1c71c1d4aa0dp-6, 0x1.1c4d343fa57f6p-6, 0x1.78246f32d075cp-7, 0x1.653a8f8cfd43cp-8,
            -0x1.e7a24f548c99fp-7),
        H6(z2, 0x1.5555555555556p-3, 0x1.6db6db6e3292ep-5, 0x1.6e8bb1d89492bp-6, 0x1.c9cf3759fd8ffp-7, 0x1.524ea8b3aad31p-7,
            0x1.1d661531b222ep-6, 0x1.d78189767524ep-6))};
}
/* 1.63 ulp: all x */
INLINE_F64 double asin_f64(double x)
{
    double t = __builtin_fabs(x);
    asin_f64_parts h = asin_half_f64(t);
    double far = 0x1.921fb54442d18p0 - (2.0 * h.s + (2.0 * h.rest - 0x1.1a62633145c07p-54));
    return __builtin_copysign(t > 0.5 ? far : h.s + h.rest, x);
}
/* 1.09 ulp: all x */
INLINE_F64 double acos_f64(double x)
{
    double t = __builtin_fabs(x);
    asin_f64_parts h = asin_half_f64(t);
    double right = 2.0 * (h.s + h.rest), left = 0x1.921fb54442d18p1 - (2.0 * h.s + (2.0 * h.rest - 0x1.1a62633145c07p-53));
    double near = 0x1.921fb54442d18p0 - (x + (__builtin_copysign(h.rest, x) - 0x1.1a62633145c07p-54));
    return t > 0.5 ? (x > 0.0 ? right : left) : near;
}
#undef INLINE_F64
#undef H1
#undef H2
#undef H3
#undef H4
#undef H5
#undef H6
#undef H7
#undef H8
#undef H9
#undef H10
#undef H11
#undef LN2_F64
#undef LN2_TAIL_F64
#undef SQRT_HALF_BITS
#undef EXP_BITS
#endif
