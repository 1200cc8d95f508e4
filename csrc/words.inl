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

/* log(e^a + e^b); a == b first, so that equal infinities do not meet as inf - inf */
static inline REAL V(logaddexp)(REAL a, REAL b)
{
    REAL larger = a > b ? a : a == a ? b : a;
    REAL sum = larger + V(softplus)(-V(abs)(a - b));
    return a == b ? a + K(0.6931471805599453) : sum;
}

/* log(x / (1 - x)) through the smaller of x and 1 - x; near the root at 1/2 in the form that keeps its digits */
static inline __attribute__((always_inline)) REAL V(logit)(REAL x)
{
    REAL t = x < K(0.5) ? x : K(1) - x;
    REAL near = -V(log1p)((K(1) - K(2) * t) / t), far = V(log)(t) - V(log1p)(-t);
    REAL l = t < K(0.25) ? far : near;
    return x < K(0.5) ? l : -l;
}

/* beyond TRIG_MAX */
static inline REAL V(sin_libm)(REAL x) { return LIBM(sin)(x); }
static inline REAL V(sin_libm_d)(REAL x) { return LIBM(cos)(x); }
static inline REAL V(cos_libm)(REAL x) { return LIBM(cos)(x); }
static inline REAL V(cos_libm_d)(REAL x) { return -LIBM(sin)(x); }
static inline REAL V(tan_libm)(REAL x) { return LIBM(tan)(x); }
static inline REAL V(tan_libm_d)(REAL x) { return K(1) / V(square)(LIBM(cos)(x)); }
