/* Every row of one operand at all numbers of float32, for tools/accuracy.py, which links this with the loops that the
   build has compiled. A stretch of numbers is walked once, block by block: the row in float64, by the best instruction
   set, is the truth with which the row in float32 of every set is compared. What `error` of tests/samples.py counts, and
   what `worst_of` of tools/accuracy.py leaves out, is counted and left out here. */
#include <math.h>
#include "../csrc/kernels.h"

enum { BLOCK = 1024, SETS = 3 };
typedef struct { double error; float point; } worst;

#define DECLARE(isa) void mgx_enter_elementwise_f32_##isa(mgx_kernels *k), mgx_enter_elementwise_f64_##isa(mgx_kernels *k);
#define ENTER(isa) (mgx_enter_elementwise_f32_##isa(&sets[count]), mgx_enter_elementwise_f64_##isa(&sets[count++]))
DECLARE(baseline)
#ifdef MGX_LEVELS
DECLARE(avx2)
DECLARE(avx512)
#endif
static mgx_kernels sets[SETS];

/* How many sets this processor has: baseline, avx2, avx512, in this order. */
int accuracy_sets(void)
{
    static int count;
    if (count)
        return count;
    ENTER(baseline);
#ifdef MGX_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        ENTER(avx2);
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
            ENTER(avx512);
    }
#endif
    return count;
}

/* y and its derivative at x, as an eager call and its backward pass compute them */
static void run(const mgx_loops *row, void *x, void *y, void *dy, void *ones)
{
    if (row->part[MGX_FORWARD_D])
        row->part[MGX_FORWARD_D](BLOCK, (char *const[]){x, y, dy});
    else {
        row->part[MGX_FORWARD](BLOCK, (char *const[]){x, y});
        row->part[MGX_VJP0](BLOCK, (char *const[]){ones, x, y, dy});
    }
}

/* one over the distance from one float to the next, of a number of that size: a power of 2 */
static inline double per_place(float size)
{
    uint32_t bits;
    memcpy(&bits, &size, 4);
    bits = (bits & 0x7f800000) > 0x00800000 ? bits & 0x7f800000 : 0x00800000;
    const uint64_t wide = (uint64_t)(1023 + 127 + 23 - (bits >> 23)) << 52;
    double found;
    memcpy(&found, &wide, 8);
    return found;
}

/* the error of each result, in units of the last place of the truth, or in `units`; 0 within `allowed`, and where it is
   not `counted` */
static double errors(const float *got, const double *truth, const double *units, const double *allowed,
                     const int64_t *counted, double *error)
{
    const double top = 0x1.fffffep127, last = 0x1.fffffcp127;
    double most = 0;
    for (int i = 0; i < BLOCK; i++) {
        const double hi = truth[i], g = got[i], size = fabs(hi) < last ? fabs(hi) : last;
        const double a = g > top ? top : g < -top ? -top : g, b = hi > top ? top : hi < -top ? -top : hi;
        const int64_t same = (g == hi) | ((g != g) & (hi != hi)) | ((fabs(g) == INFINITY) & (g == (double)(float)hi));
        const double e = fabs(a - b) * per_place((float)size);
        error[i] = same | !counted[i] ? 0 : e == e ? e : INFINITY;
    }
    if (units)
        for (int i = 0; i < BLOCK; i++)
            if (error[i] > 0) {
                const double e = fabs(got[i] - truth[i]) / units[i];
                error[i] = e == e ? e : INFINITY;
            }
    if (allowed)
        for (int i = 0; i < BLOCK; i++)
            if (fabs(got[i] - truth[i]) <= allowed[i])
                error[i] = 0;
    for (int i = 0; i < BLOCK; i++)
        most = error[i] > most ? error[i] : most;
    return most;
}

/* The worst of y and of dy of every set, among the `blocks` * BLOCK numbers whose bits begin at `first`, but for those
   outside of low..high. units and allowed, where not NULL, belong to the numbers one by one. */
void accuracy_stretch(int row, uint32_t first, int64_t blocks, double low, double high, const double *y_units,
                      const double *dy_units, const double *dy_allowed, worst *found)
{
    static float x[BLOCK], y[BLOCK], dy[BLOCK], ones[BLOCK];
    static double wide[BLOCK], true_y[BLOCK], true_dy[BLOCK], wide_ones[BLOCK], error[BLOCK];
    static int64_t inside[BLOCK], finite[BLOCK];
    const int count = accuracy_sets();
    for (int i = 0; i < BLOCK; i++)
        ones[i] = 1, wide_ones[i] = 1;
    for (int64_t b = 0; b < blocks; b++, first += BLOCK) {
        for (int i = 0; i < BLOCK; i++) {
            const uint32_t bits = first + i;
            memcpy(&x[i], &bits, 4);
            wide[i] = x[i];
            inside[i] = !(x[i] < low) & !(x[i] > high);
        }
        run(&sets[count - 1].rows[MGX_F64][row], wide, true_y, true_dy, wide_ones);
        for (int i = 0; i < BLOCK; i++)                 /* a derivative where the value is a number */
            finite[i] = inside[i] & !(fabs(true_y[i]) >= 0x1.ffffffp127 && !(true_y[i] != true_y[i]));
        for (int set = 0; set < count; set++) {
            run(&sets[set].rows[MGX_F32][row], x, y, dy, ones);
            for (int k = 0; k < 2; k++) {
                worst *w = &found[2 * set + k];
                const double *units = k ? dy_units : y_units, *allowed = k ? dy_allowed : NULL;
                const double most = errors(k ? dy : y, k ? true_dy : true_y, units ? units + b * BLOCK : NULL,
                                           allowed ? allowed + b * BLOCK : NULL, k ? finite : inside, error);
                if (most > w->error)
                    for (int i = 0; i < BLOCK; i++)
                        if (error[i] == most) {
                            *w = (worst){most, x[i]};
                            break;
                        }
            }
        }
    }
}
