/* The scalar rules: the same expressions as the loops, in double. */
#include "isa.h"
#ifdef ISA
#include "f64.h"

#define NONE MGX_NONE
#define RULE(name) static void name##_rule(const double *v, int needs, double *result, double *d)
#define U(name, f, dx, ...) \
    RULE(name) { double x = v[0], y = (f); *result = y; if (needs) d[0] = (dx); (void)x; }
#define D U
#define H(name, f, dx, ...) \
    RULE(name) { \
        double x = v[0]; \
        int huge = __builtin_fabs(x) > TRIG_MAX; \
        *result = huge ? name##_libm_f64(x) : (f); \
        if (needs) d[0] = huge ? name##_libm_d_f64(x) : (dx); }
#define B(name, f, da, db, ...) \
    RULE(name) { \
        double a = v[0], b = v[1], y = (f); (void)a; (void)b; \
        *result = y; \
        if (needs & 1) d[0] = (da); \
        if (needs & 2) d[1] = (db); }
#define P B
#define T(name, f, da, db, dc, ...) \
    RULE(name) { \
        double a = v[0], b = v[1], c = v[2]; (void)a; (void)b; (void)c; \
        *result = (f); \
        if (needs & 1) d[0] = (da); \
        if (needs & 2) d[1] = (db); \
        if (needs & 4) d[2] = (dc); }
#define C(name, f, ...) \
    RULE(name) { double a = v[0], b = v[1]; *result = (f) ? 1 : 0; if (needs & 1) d[0] = 0; if (needs & 2) d[1] = 0; }
#include "ops.def"
#undef U
#undef D
#undef H
#undef B
#undef P
#undef T
#undef C

ENTER(rules)
{
#define U(name, ...) k->rules[MGX_##name] = name##_rule;
#define D U
#define H U
#define B U
#define P U
#define T U
#define C U
#include "ops.def"
}
#endif
