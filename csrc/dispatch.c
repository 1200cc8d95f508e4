/* Which kernels run: the best set that the processor has, read once. */
#include "kernels.h"
#include <stdlib.h>
#include <string.h>

extern const mgx_kernels mgx_kernels_baseline;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define X86_LEVELS 1
extern const mgx_kernels mgx_kernels_avx2, mgx_kernels_avx512;
#endif

static const mgx_kernels *choose(const char *wanted)
{
    const mgx_kernels *sets[3] = {&mgx_kernels_baseline};
    int count = 1;
#ifdef X86_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sets[count++] = &mgx_kernels_avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
            sets[count++] = &mgx_kernels_avx512;
    }
#endif
    if (!wanted || !*wanted)
        return sets[count - 1];
    for (int i = 0; i < count; i++)
        if (!strcmp(wanted, sets[i]->isa))
            return sets[i];
    return NULL;
}

const mgx_kernels *mgx_dispatch(void)
{
    static const mgx_kernels *chosen;
    if (!chosen)
        chosen = choose(getenv("MICROGRADX_ISA"));
    return chosen;
}
