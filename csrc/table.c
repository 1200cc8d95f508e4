/* The rows as data. The first macro turns each expression into its text. */
#include "kernels.h"

const mgx_row mgx_table[MGX_NROWS] = {
#define U(name, f, d, lo, hi, ulp, dulp, doc) {#name, "U", #f, {#d, 0, 0}, 1, lo, hi, ulp, dulp, doc},
#define D(name, f, d, lo, hi, ulp, dulp, doc) {#name, "D", #f, {#d, 0, 0}, 1, lo, hi, ulp, dulp, doc},
#define H(name, f, d, lo, hi, ulp, dulp, doc) {#name, "H", #f, {#d, 0, 0}, 1, lo, hi, ulp, dulp, doc},
#define B(name, f, da, db, lo, hi, ulp, dulp, parameters, doc) \
    {#name, "B", #f, {#da, #db, 0}, 2, lo, hi, ulp, dulp, doc},
#define P(name, f, da, db, lo, hi, ulp, dulp, parameters, doc) \
    {#name, "P", #f, {#da, #db, 0}, 2, lo, hi, ulp, dulp, doc},
#define T(name, f, da, db, dc, lo, hi, ulp, dulp, parameters, doc) \
    {#name, "T", #f, {#da, #db, #dc}, 3, lo, hi, ulp, dulp, doc},
#define C(name, f, lo, hi, parameters, doc) {#name, "C", #f, {"K(0)", "K(0)", 0}, 2, lo, hi, 0, 0, doc},
#include "ops.def"
};

/* The structured kernels: for each row how its launch is cut and measured, and its text. */
#include "rows.h"
#define KERNEL(name, file, operation, doc, reads, updates, writes, integers, numbers, split, memory, count, result) \
    static ptrdiff_t cut_##name(const mgx_args *args, ptrdiff_t *work, ptrdiff_t *scratch) \
    { \
        int integer = 0; \
        FOR_EACH(TAKE, UNPACKED integers) (void)integer; \
        *work = WORK_##split, *scratch = BYTES_##memory; \
        return AXIS_##split; \
    } \
    static void measure_##name(const mgx_args *args, mgx_measure *to) \
    { \
        int index = 0; \
        TAKE_ALL(reads, updates, writes, integers, numbers) \
        FOR_EACH(MEASURE, UNPACKED reads) to->first_update = index; \
        FOR_EACH(MEASURE, UNPACKED updates) FOR_EACH(MEASURE, UNPACKED writes) \
        to->operands = index; \
        for (int i = 0; i < index; i++) \
            if (!args->p[i]) \
                to->elements[i] = 0; \
        to->scratch = BYTES_##memory, to->flops = (count); \
    }
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "kernels.def"
#undef KERNEL

enum { RESULT_ANY_RESULT, RESULT_KEEPS_FINITE };
const mgx_kernel_row mgx_kernel_table[MGX_NKERNELS] = {
#define KERNEL(name, file, operation, doc, reads, updates, writes, integers, numbers, split, memory, count, result) \
    {#name, #operation, doc, #reads, #updates, #writes, #integers, #numbers, #split, RESULT_##result, \
     IS_STEADY_##split, cut_##name, measure_##name},
#include "kernels.def"
};

static inline ptrdiff_t bytes_of(const mgx_measure *of, int k, int dtype)
{
    static const ptrdiff_t size[] = {4, 8, 8, 1};
    return of->elements[k] * size[of->type[k] < MGX_OF_LAUNCH ? of->type[k] : dtype];
}

void mgx_check_launch(const mgx_kernel_row *row, const mgx_args *args, int dtype)
{
    mgx_measure of;
    row->measure(args, &of);
    for (int k = 0; k < of.operands; k++) {
        const int type = of.type[k] < MGX_OF_LAUNCH ? of.type[k] : dtype;
        MGX_ASSERT(of.elements[k] >= 0);
        MGX_ASSERT(type == MGX_BOOL
                   || (type == MGX_F32 ? MGX_ALIGNED(args->p[k], float) : MGX_ALIGNED(args->p[k], double)));
        for (int j = of.first_update; j < of.operands; j++)
            MGX_ASSERT(j == k || of.type[k] == MGX_OF_LAUNCH_STRIDED || of.type[j] == MGX_OF_LAUNCH_STRIDED ||
                       MGX_APART(args->p[k], bytes_of(&of, k, dtype), args->p[j], bytes_of(&of, j, dtype)));
    }
}
