/* What runs a row of kernels.def for one dtype and ISA: it unpacks the arguments and calls the body by its types. */
static ptrdiff_t V(copy)(const char *x, char *y, ptrdiff_t n)
{
    memmove(y, x, n);
    return MGX_DONE;
}

static ptrdiff_t V(constant)(const char *x, char *y, ptrdiff_t n)
{
    memmove(y, x, n);
    return MGX_DONE;
}

#define KERNEL(name, operation, doc, reads, updates, writes, integers, numbers, split, memory, flops, result) \
    static ptrdiff_t PASTE(run_##name, SUFFIX)(const mgx_args *args, char *scratch, ptrdiff_t first, ptrdiff_t last) \
    { \
        TAKE_ALL(reads, updates, writes, integers, numbers) \
        (void)scratch, (void)first, (void)last; \
        return PASTE(name, SUFFIX)(DROP_COMMA(0 PASS_##split PASS_##memory FOR_EACH(PASS, UNPACKED reads) \
            FOR_EACH(PASS, UNPACKED updates) FOR_EACH(PASS, UNPACKED writes) FOR_EACH(PASS, UNPACKED integers) \
            FOR_EACH(PASS, UNPACKED numbers))); \
    }
#include "kernels.def"
#undef KERNEL
