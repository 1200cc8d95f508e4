/* x86-64 with AVX-512 F, DQ, BW, VL: Skylake-X (2017), Zen 4 (2022) and later. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#define ISA avx512
#define ISA_NAME "avx512"
#include "isa.inl"
#endif
