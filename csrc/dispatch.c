/* Which kernels run: those of the best set that the processor has, entered into one table, once. */
#include "kernels.h"
#include <stdlib.h>
#include <string.h>

/* the files of csrc/isa */
#define TOPICS(X, isa) X(elementwise_f32, isa) X(elementwise_f64, isa) X(rules, isa) X(gemm, isa) X(replay, isa) \
    X(structured, isa) X(random, isa)
#define DECLARE(topic, isa) void mgx_enter_##topic##_##isa(mgx_kernels *k);
#define CALL(topic, isa) mgx_enter_##topic##_##isa(k);
#define SET(isa) TOPICS(DECLARE, isa) static void enter_##isa(mgx_kernels *k) { TOPICS(CALL, isa) }

typedef struct { const char *isa; void (*enter)(mgx_kernels *k); } set;
SET(baseline)
#ifdef MGX_LEVELS
SET(avx2)
SET(avx512)
#endif

static const mgx_kernels *choose(const char *wanted)
{
    static mgx_kernels chosen;
    set sets[3] = {{"baseline", enter_baseline}};
    int count = 1;
#ifdef MGX_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sets[count++] = (set){"avx2", enter_avx2};
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
            sets[count++] = (set){"avx512", enter_avx512};
    }
#endif
    for (int i = count - 1; i >= 0; i--)
        if (!wanted || !*wanted || !strcmp(wanted, sets[i].isa)) {
            chosen.isa = sets[i].isa;
            sets[i].enter(&chosen);
            return &chosen;
        }
    return NULL;
}

const mgx_kernels *mgx_dispatch(void)
{
    static const mgx_kernels *chosen;
    if (!chosen)
        chosen = choose(getenv("MICROGRADX_ISA"));
    return chosen;
}
