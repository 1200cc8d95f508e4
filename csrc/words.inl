/* The words of ops.def that vmath does not have, for one dtype (REAL, SUFFIX). */
static inline REAL V(abs)(REAL x) { return LIBM(fabs)(x); }
static inline REAL V(sign)(REAL x) { return x > 0 ? (REAL)1 : x < 0 ? (REAL)-1 : x; }
static inline REAL V(square)(REAL x) { return x * x; }
static inline REAL V(sqrt)(REAL x) { return LIBM(sqrt)(x); }
static inline REAL V(floor)(REAL x) { return LIBM(floor)(x); }
static inline REAL V(ceil)(REAL x) { return LIBM(ceil)(x); }
static inline REAL V(round)(REAL x) { return LIBM(rint)(x); }               /* ties to even */
static inline REAL V(trunc)(REAL x) { return LIBM(trunc)(x); }
static inline REAL V(mul_no_nan)(REAL g, REAL d) { return g == 0 ? (REAL)0 : g * d; }

/* the sign of the divisor, as Python's % */
static inline REAL V(remainder)(REAL a, REAL b)
{
    REAL r = LIBM(fmod)(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* x^(twice/2) for the exponents of EACH_POWER: -2, -1, -1/2, 1/2, 3/2, 2, 5/2 and 3. 0.5 ulp and little more, as
   products and roots, which are carried as high and low part. Halves of -0 and -inf are those of 0 and inf. */
#ifndef EACH_POWER
#define EACH_POWER(m) m(-4) m(-2) m(-1) m(1) m(3) m(4) m(5) m(6)
#define NO_POWER 7
#endif
typedef struct { REAL hi, lo; } V(pair);
static inline __attribute__((always_inline)) V(pair) V(pair_product)(V(pair) a, V(pair) b)
{
    REAL p = a.hi * b.hi;
    return (V(pair)){p, V(product_tail)(a.hi, b.hi, p) + (a.hi * b.lo + a.lo * b.hi)};
}
static inline __attribute__((always_inline)) REAL V(power)(REAL x, int twice)
{
    const int halves = twice & 1, negative = twice < 0, whole = (negative ? -twice : twice) / 2;
    const REAL t = halves && (x == 0 || x == -LIBM(inf)()) ? LIBM(fabs)(x) : x;
    const REAL inverse = K(1) / t, root = LIBM(sqrt)(t);
    const V(pair) one = {1, 0}, reciprocal = {inverse, -inverse * V(product_tail)(inverse, t, 1)};
    const V(pair) base = negative ? reciprocal : (V(pair)){t, 0};
    const REAL i = K(1) / root, p = t * i;              /* 1/sqrt(t), mended by what t*i*i lacks of 1 */
    const REAL lack = -V(product_tail)(p, i, 1) - V(product_tail)(t, i, p) * i;
    const V(pair) up = {root, whole ? K(-0.5) * V(product_tail)(root, root, t) * i : 0}, down = {i, K(0.5) * i * lack};
    V(pair) y = halves ? (negative ? down : up) : one;
    UNROLL for (int k = 0; k < 3; k++)
        if (k < whole)
            y = k || halves ? V(pair_product)(y, base) : base;
    return y.hi != 0 && y.hi - y.hi == 0 ? y.hi + y.lo : y.hi;
}

/* twice the exponent b if `power` knows it, else NO_POWER */
static inline __attribute__((always_inline)) int V(twice_of)(REAL b)
{
    const REAL twice = b >= K(-2) && b <= K(3) ? b + b : K(0.5);
    const int whole = (int)twice, known = (REAL)whole == twice && whole != -3 && whole != 0 && whole != 2;
    return known ? whole : NO_POWER;
}
static inline __attribute__((always_inline)) REAL V(pow)(REAL a, REAL b)
{
    switch (V(twice_of)(b)) {
#define CASE(twice) case twice: return V(power)(a, twice);
        EACH_POWER(CASE)
#undef CASE
    }
    return V(pow_lanes)(a, b, 0);
}

/* log(e^a + e^b); a == b first, so that equal infinities do not meet as inf - inf */
static inline REAL V(logaddexp)(REAL a, REAL b)
{
    REAL larger = a > b ? a : a == a ? b : a;
    REAL sum = larger + V(softplus)(-V(abs)(a - b));
    return a == b ? a + K(0.6931471805599453) : sum;
}

/* log(x / (1 - x)) = -log1p((1 - 2t) / t) for t, the smaller of x and 1 - x: exact near the root at 1/2. A t so small
   that 1/t could overflow is taken times 2^64. */
static inline __attribute__((always_inline)) REAL V(logit)(REAL x)
{
    REAL t = (x < K(0.5) ? x : K(1) - x) + K(0);
    int tiny = t > K(0) && t < K(0x1p-124);
    REAL l = V(log1p)((K(1) - K(2) * t) / (tiny ? t * K(0x1p64) : t)) + (tiny ? K(44.36141955583649) : K(0));
    return x < K(0.5) ? -l : l;
}

#ifndef VERY_FAR
#define VERY_FAR (sizeof(REAL) == 4 ? K(0x1p30) : K(0x1p60))            /* from here on log1p(x) is log(x) */
#endif
/* through log1p; a large x as log(x) + ln 2, before its square overflows */
static inline __attribute__((always_inline)) REAL V(asinh)(REAL x)
{
    REAL t = V(abs)(x), far = t > VERY_FAR ? K(0.6931471805599453) : 0;
    REAL y = V(log1p)(t > VERY_FAR ? t : t + t * t / (K(1) + V(sqrt)(K(1) + t * t))) + far;
    return x < 0 ? -y : t == 0 ? x : y;
}
static inline __attribute__((always_inline)) REAL V(acosh)(REAL x)
{
    REAL d = x - K(1), far = x > VERY_FAR ? K(0.6931471805599453) : 0;
    REAL u = x > VERY_FAR ? x : d + V(sqrt)(d * (d + K(2)));
    return V(log1p)(x < K(1) ? K(-2) : u) + far;
}
static inline __attribute__((always_inline)) REAL V(atanh)(REAL x)
{
    REAL t = V(abs)(x), y = K(0.5) * V(log1p)((t + t) / (K(1) - t));
    return x < 0 ? -y : t == 0 ? x : y;
}

/* beyond TRIG_MAX */
static inline REAL V(sin_libm)(REAL x) { return LIBM(sin)(x); }
static inline REAL V(sin_libm_d)(REAL x) { return LIBM(cos)(x); }
static inline REAL V(cos_libm)(REAL x) { return LIBM(cos)(x); }
static inline REAL V(cos_libm_d)(REAL x) { return -LIBM(sin)(x); }
static inline REAL V(tan_libm)(REAL x) { return LIBM(tan)(x); }
static inline REAL V(tan_libm_d)(REAL x) { return K(1) / V(square)(LIBM(cos)(x)); }
