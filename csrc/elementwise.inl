/* Expands the table into loops for one dtype (REAL, SUFFIX) and the ISA of the including file. */

/* An operation in place passes one array as input and output. `restrict` holds all the same: element i is read
   before it is written, and never again. */
static inline int V(in_place_or_apart)(ptrdiff_t n, char *const *p, int k)
{
    int good = 1;
    for (int i = 0; i < k; i++)
        good = good && (p[i] == p[k] || MGX_APART(p[i], n * sizeof(REAL), p[k], n * sizeof(REAL)));
    return good;
}
#define IN(k) INPUT(k) const REAL *restrict p##k = (const REAL *)p[k];
#define OUT(k) OUTPUT(k) REAL *restrict p##k = (REAL *)p[k];
#define LOOP for (ptrdiff_t i = 0; i < n; i++)
#define LOOPS(name, loop) static void V(name##_##loop)(ptrdiff_t n, char *const *p)
#define INPUT(k) MGX_ASSERT(n >= 0 && MGX_ALIGNED(p[k], REAL));
#define OUTPUT(k) MGX_ASSERT(MGX_ALIGNED(p[k], REAL) && V(in_place_or_apart)(n, p, k));

/* the gradient times a derivative, of which a part that is NONE lets nothing pass */
#define NONE (none = 1, K(0))
#define TIMES(out, d) int none = 0; const REAL slope = (d); out = none ? K(0) : V(mul_no_nan)(p0[i], slope);

#define FORWARD1(name, f) \
    LOOPS(name, forward) { IN(0) OUT(1) LOOP { REAL x = p0[i]; p1[i] = (f); } }
#define FORWARD1_D(name, f, d) \
    LOOPS(name, forward_d) { IN(0) OUT(1) OUT(2) LOOP { REAL x = p0[i], y = (f); p1[i] = y; p2[i] = (d); } }
#define VJP1(name, d) \
    LOOPS(name, vjp0) { IN(0) IN(1) IN(2) OUT(3) LOOP { \
        REAL x = p1[i], y = p2[i]; (void)x; (void)y; TIMES(p3[i], d) } }
#define FORWARD2(name, f) \
    LOOPS(name, forward) { IN(0) IN(1) OUT(2) LOOP { REAL a = p0[i], b = p1[i]; p2[i] = (f); } }
#define VJP2(name, k, d) \
    LOOPS(name, vjp##k) { IN(0) IN(1) IN(2) IN(3) OUT(4) LOOP { \
        REAL a = p1[i], b = p2[i], y = p3[i]; (void)a; (void)b; (void)y; TIMES(p4[i], d) } }
#define FORWARD3(name, f) \
    LOOPS(name, forward) { IN(0) IN(1) IN(2) OUT(3) LOOP { REAL a = p0[i], b = p1[i], c = p2[i]; p3[i] = (f); } }
#define VJP3(name, k, d) \
    LOOPS(name, vjp##k) { IN(0) IN(1) IN(2) IN(3) OUT(5) LOOP { \
        REAL a = p1[i], b = p2[i], c = p3[i]; (void)a; (void)b; (void)c; TIMES(p5[i], d) } }

/* arguments too large for the argument reduction: rare, so looked for by block and redone by libm */
static inline int V(any_beyond)(ptrdiff_t n, const REAL *x)
{
    int beyond = 0;
    LOOP beyond |= LIBM(fabs)(x[i]) > TRIG_MAX;
    return beyond;
}
#define BLOCK 256
#define HUGE1(name, f, d) \
    static void V(name##_huge)(ptrdiff_t n, const REAL *p0, REAL *p1, REAL *p2) { \
        LOOP { REAL x = p0[i]; if (LIBM(fabs)(x) > TRIG_MAX) { \
            REAL y = V(name##_libm)(x); p1[i] = y; if (p2) p2[i] = V(name##_libm_d)(x); } } } \
    LOOPS(name, forward) { IN(0) OUT(1) \
        for (ptrdiff_t s = 0; s < n; s += BLOCK) { \
            ptrdiff_t m = n - s < BLOCK ? n - s : BLOCK; \
            for (ptrdiff_t i = s; i < s + m; i++) { REAL x = p0[i]; p1[i] = (f); } \
            if (V(any_beyond)(m, p0 + s)) V(name##_huge)(m, p0 + s, p1 + s, 0); } } \
    LOOPS(name, forward_d) { IN(0) OUT(1) OUT(2) \
        for (ptrdiff_t s = 0; s < n; s += BLOCK) { \
            ptrdiff_t m = n - s < BLOCK ? n - s : BLOCK; \
            for (ptrdiff_t i = s; i < s + m; i++) { REAL x = p0[i], y = (f); p1[i] = y; p2[i] = (d); } \
            if (V(any_beyond)(m, p0 + s)) V(name##_huge)(m, p0 + s, p1 + s, p2 + s); } }

/* Powers, by block: power[i] = a to the b - less, made before the loop that asks for it. One exponent that all
   elements share and `power` knows is a constant to the compiler, whose loop has its products only; all others go to
   `pow_lanes`, and those known are redone. */
static inline int V(twice_shared)(ptrdiff_t n, const REAL *b, REAL less)
{
    int differ = 0;
    LOOP differ |= b[i] != b[0];
    return differ ? NO_POWER : V(twice_of)(b[0] - less);
}
static inline int V(any_power)(ptrdiff_t n, const REAL *b, REAL less)
{
    int any = 0;
    LOOP any |= V(twice_of)(b[i] - less) != NO_POWER;
    return any;
}
static inline int V(all_ordinary)(ptrdiff_t n, const REAL *a, const REAL *b)
{
    const REAL infinity = LIBM(inf)();
    int all = 1;
    LOOP all &= (a[i] > 0) & (a[i] < infinity) & (V(abs)(b[i]) < infinity);
    return all;
}
static void V(powers)(ptrdiff_t n, const REAL *restrict a, const REAL *restrict b, REAL less, REAL *restrict power)
{
    switch (V(twice_shared)(n, b, less)) {
#define CASE(twice) case twice: LOOP power[i] = V(power)(a[i], twice); break;
        EACH_POWER(CASE)
#undef CASE
    default:
        if (V(all_ordinary)(n, a, b))
            LOOP power[i] = V(pow_lanes)(a[i], b[i] - less, 1);
        else
            LOOP power[i] = V(pow_lanes)(a[i], b[i] - less, 0);
        if (V(any_power)(n, b, less))
            LOOP if (V(twice_of)(b[i] - less) != NO_POWER)
                power[i] = V(power)(a[i], V(twice_of)(b[i] - less));
    }
}
#undef pow
#define pow(a, b) power[i - s]
#define POWERS(x, exponents, less, result) \
    for (ptrdiff_t s = 0, end; s < n; s = end) { \
        REAL power[BLOCK]; \
        end = n - s < BLOCK ? n : s + BLOCK; \
        V(powers)(end - s, (x) + s, (exponents) + s, less, power); \
        for (ptrdiff_t i = s; i < end; i++) { const REAL a = (x)[i], b = (exponents)[i]; (void)a; (void)b; result } }
#define FORWARD_POW(name, f) \
    LOOPS(name, forward) { IN(0) IN(1) OUT(2) POWERS(p0, p1, 0, p2[i] = (f);) }
#define VJP_POW(name, da) \
    LOOPS(name, vjp0) { IN(0) IN(1) IN(2) IN(3) OUT(4) \
        POWERS(p1, p2, 1, { const REAL y = p3[i]; (void)y; TIMES(p4[i], da) }) }
#define P(name, f, da, db, ...) FORWARD_POW(name, f) VJP_POW(name, da) VJP2(name, 1, db)
#define U(name, f, d, ...) FORWARD1(name, f) VJP1(name, d)
#define D(name, f, d, ...) FORWARD1(name, f) FORWARD1_D(name, f, d)
#define H(name, f, d, ...) HUGE1(name, f, d)
#define B(name, f, da, db, ...) FORWARD2(name, f) VJP2(name, 0, da) VJP2(name, 1, db)
#define T(name, f, da, db, dc, ...) \
    FORWARD3(name, f) VJP3(name, 0, da) VJP3(name, 1, db) VJP3(name, 2, dc)
#define C(name, f, ...) FORWARD2(name, (f) ? K(1) : K(0))
#include "ops.def"
#undef U
#undef D
#undef H
#undef P
#undef B
#undef T
#undef C
#undef IN
#undef INPUT
#undef OUTPUT
#undef OUT
#undef LOOP
#undef LOOPS
#undef FORWARD1
#undef FORWARD1_D
#undef VJP1
#undef FORWARD2
#undef VJP2
#undef FORWARD3
#undef VJP3
#undef HUGE1
#undef pow
#undef POWERS
#undef FORWARD_POW
#undef VJP_POW
#undef NONE
#undef TIMES
#undef BLOCK

#define U(name, ...) [MGX_##name] = {{V(name##_forward), 0, V(name##_vjp0)}},
#define D(name, ...) [MGX_##name] = {{V(name##_forward), V(name##_forward_d)}},
#define H D
#define B(name, ...) [MGX_##name] = {{V(name##_forward), 0, V(name##_vjp0), V(name##_vjp1)}},
#define P B
#define T(name, ...) [MGX_##name] = {{V(name##_forward), 0, V(name##_vjp0), V(name##_vjp1), V(name##_vjp2)}},
#define C(name, ...) [MGX_##name] = {{V(name##_forward)}},
static const mgx_loops V(rows)[MGX_NROWS] = {
#include "ops.def"
};
#undef U
#undef D
#undef H
#undef P
#undef B
#undef T
#undef C
