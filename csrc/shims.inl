/* For one dtype, what runs each row of kernels.def whose body this file of csrc/isa has: it unpacks the arguments and
   calls the body by its types. The file says which are its own: OWN_gemm(...) is its arguments there, and nothing
   elsewhere. */
#define KERNEL(name, file, operation, doc, reads, updates, writes, integers, numbers, split, memory, flops, result) \
    OWN_##file(static ptrdiff_t PASTE(run_##name, SUFFIX)(const mgx_args *args, char *scratch, ptrdiff_t first, \
                                                          ptrdiff_t last) \
    { \
        TAKE_ALL(reads, updates, writes, integers, numbers) \
        (void)scratch, (void)first, (void)last; \
        CHECK_LAUNCH(name) \
        return PASTE(name, SUFFIX)(DROP_COMMA(0 PASS_##split PASS_##memory FOR_EACH(PASS, UNPACKED reads) \
            FOR_EACH(PASS, UNPACKED updates) FOR_EACH(PASS, UNPACKED writes) FOR_EACH(PASS, UNPACKED integers) \
            FOR_EACH(PASS, UNPACKED numbers))); \
    })
#include "kernels.def"
#undef KERNEL
