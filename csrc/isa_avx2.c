/* x86-64 with AVX2 and FMA: Haswell (2013), Zen (2017) and later. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma")
#define ISA avx2
#define ISA_NAME "avx2"
#include "isa.inl"
#endif
