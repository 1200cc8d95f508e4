/* Random numbers for one dtype and ISA: a state (key, counter) -> numbers, by Philox4x32-10 of Salmon, Moraes, Dror and
   Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). A block is four words of 32 bits, a function of the key
   and of the block's number alone, so a kernel can begin anywhere, and pieces can run in any order. The number's upper
   64 bits are 0, but for `below`, which asks for further words of the same block by them.

   Blocks are computed by LANES at once, which are a tile. A number that needs one word has word j / LANES of block
   j % LANES, where j is its place in its tile; one that needs two words has words 2*(j / LANES) and 2*(j / LANES) + 1.
   So tiles are written in order without a shuffle. Kernels read the counter; `advance` alone writes it.

   Nothing is fused here (MGX_UNFUSED) and there is no libm, so the bits are the same on every instruction set. */
#ifndef RANDOM                                  /* once for both dtypes */
#define RANDOM
#include "vectors.h"
#if BYTES == 64                                 /* products of the lower halves of 64-bit lanes */
#define PRODUCTS(a, b) ((u64s)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif BYTES == 32
#define PRODUCTS(a, b) ((u64s)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
#define PRODUCTS(a, b) ((u64s)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
#define PRODUCTS(a, b) (((a) & 0xffffffffu) * ((b) & 0xffffffffu))
#endif
typedef uint64_t u64s __attribute__((vector_size(BYTES)));
typedef uint32_t u32s __attribute__((vector_size(BYTES / 2)));
enum { LANES = 32, ROUNDS = 10,
       ABREAST = 4,                 /* vectors whose rounds run side by side and hide each other's latency */
       UNIT = 4 * LANES };          /* of the axis that rows split: one tile, or two of numbers of two words */
#define MULTIPLIER0 0xD2511F53u
#define MULTIPLIER1 0xCD9E8D57u
#define WEYL0 0x9E3779B9u
#define WEYL1 0xBB67AE85u

/* the words of LANES blocks from `block` on: word k of block l is words[k][l] */
INLINE void philox_tile(uint64_t key, uint64_t block, uint32_t words[4][LANES])
{
    enum { IN = BYTES / 8 };
    const u64s m0 = (u64s){0} + MULTIPLIER0, m1 = (u64s){0} + MULTIPLIER1;
    u64s lane;
    UNROLL for (int i = 0; i < IN; i++)
        lane[i] = i;
    UNROLL for (int at = 0; at < LANES; at += ABREAST * IN) {
        u64s a[ABREAST], b[ABREAST], c[ABREAST], d[ABREAST];
        UNROLL for (int g = 0; g < ABREAST; g++)
            a[g] = lane + (block + at + g * IN), b[g] = a[g] >> 32, c[g] = d[g] = (u64s){0};
        _Pragma("GCC unroll 10") for (int r = 0; r < ROUNDS; r++) {
            const u64s k0 = (u64s){0} + (uint32_t)((uint32_t)key + r * WEYL0);
            const u64s k1 = (u64s){0} + (uint32_t)((uint32_t)(key >> 32) + r * WEYL1);
            UNROLL for (int g = 0; g < ABREAST; g++) {       /* the upper halves of b and d are left over: not read */
                const u64s p = PRODUCTS(a[g], m0), q = PRODUCTS(c[g], m1);
                a[g] = (q >> 32) ^ b[g] ^ k0, c[g] = (p >> 32) ^ d[g] ^ k1, b[g] = q, d[g] = p;
            }
        }
        UNROLL for (int g = 0; g < ABREAST; g++) {
            const u32s out[4] = {__builtin_convertvector(a[g], u32s), __builtin_convertvector(b[g], u32s),
                                 __builtin_convertvector(c[g], u32s), __builtin_convertvector(d[g], u32s)};
            UNROLL for (int k = 0; k < 4; k++)
                memcpy(&words[k][at + g * IN], &out[k], sizeof out[k]);
        }
    }
}

/* the same of one block, whose number's upper half is `more` */
static void philox_block(uint64_t key, uint64_t block, uint64_t more, uint32_t word[4])
{
    uint32_t a = (uint32_t)block, b = (uint32_t)(block >> 32), c = (uint32_t)more, d = (uint32_t)(more >> 32);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        const uint64_t p = (uint64_t)a * MULTIPLIER0, q = (uint64_t)c * MULTIPLIER1;
        a = (uint32_t)(q >> 32) ^ b ^ ((uint32_t)key + r * WEYL0);
        c = (uint32_t)(p >> 32) ^ d ^ ((uint32_t)(key >> 32) + r * WEYL1);
        b = (uint32_t)q, d = (uint32_t)p;
    }
    word[0] = a, word[1] = b, word[2] = c, word[3] = d;
}

INLINE uint64_t two_words(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

/* a * b = high * 2^64 + low */
INLINE uint64_t high_product(uint64_t a, uint64_t b, uint64_t *low)
{
    const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

/* a number below `range` (0: below 2^64), every one with the same chance: x * range / 2^64, where the few x that would
   favour some are replaced by further words of their block (Lemire, "Fast random integer generation in an interval",
   2019) */
INLINE uint64_t below(uint64_t range, uint64_t x, uint64_t key, uint64_t block, int half)
{
    uint64_t low, high = high_product(x, range, &low);
    if (range == 0)
        return x;
    if (low < range) {
        const uint64_t least = -range % range;
        for (uint64_t more = 1; low < least; more++) {
            uint32_t word[4];
            philox_block(key, block, more, word);
            high = high_product(two_words(word[2 * half], word[2 * half + 1]), range, &low);
        }
    }
    return high;
}

/* low + a number below `range` for each number of a tile: at once where x * range has 96 bits and all x serve */
INLINE void integers_tile(uint64_t key, uint64_t block, int64_t low, uint64_t range, int64_t y[2 * LANES])
{
    uint32_t words[4][LANES];
    uint64_t bad = range > UINT32_MAX || range == 0;
    philox_tile(key, block, words);
    for (int half = 0; half < 2; half++)
        for (int l = 0; l < LANES; l++) {
            const uint64_t p = (uint64_t)words[2 * half][l] * (uint32_t)range;
            const uint64_t q = (uint64_t)words[2 * half + 1][l] * (uint32_t)range + (p >> 32);
            y[half * LANES + l] = (int64_t)((uint64_t)low + (q >> 32));
            bad |= ((q << 32) | (uint32_t)p) < range;
        }
    if (bad)
        for (int j = 0; j < 2 * LANES; j++) {
            const int half = j / LANES, l = j % LANES;
            const uint64_t x = two_words(words[2 * half][l], words[2 * half + 1][l]);
            y[j] = (int64_t)((uint64_t)low + below(range, x, key, block + l, half));
        }
}

/* 64 bits for each number of a tile of 2*LANES, from `block` on */
INLINE void wide_tile(uint64_t key, uint64_t block, uint64_t x[2 * LANES])
{
    uint32_t words[4][LANES];
    philox_tile(key, block, words);
    for (int half = 0; half < 2; half++)
        for (int l = 0; l < LANES; l++)
            x[half * LANES + l] = two_words(words[2 * half][l], words[2 * half + 1][l]);
}

/* a number below 2^52 as a double; conversions of 64 bits would not vectorise everywhere */
INLINE double small_f64(uint64_t x) { return from_bits_f64(x | UINT64_C(0x4330000000000000)) - 0x1p52; }

/* 0 <= x < 1 in steps of 2^-24; 0 < x <= 1 that reaches down to 2^-32; the half turns h + x of a word, |x| <= 1/2 */
INLINE float uniform_of_f32(uint32_t w) { return (float)(int32_t)(w >> 8) * 0x1p-24f; }
INLINE float positive_of_f32(uint32_t w) { return ((float)(int32_t)(w >> 1) + 0.5f) * 0x1p-31f; }
INLINE float sin_of_f32(uint32_t w)
{
    const uint32_t turned = w + 0x40000000u;
    return sin_poly_f32((float)((int32_t)(turned & 0x7fffffffu) - 0x40000000) * 0x1.921fb6p-30f, turned >> 31);
}
INLINE float minus_log_f32(float x) { return -log_of_parts_f32(log_split_f32(x, 0.0f, 0.0f)); }

/* the same of 64 bits: steps of 2^-53; down to 2^-65; half turns in steps of 2^-52 */
INLINE double uniform_of_f64(uint64_t w)
{
    return (small_f64(w >> 43) * 0x1p32 + small_f64((w >> 11) & 0xffffffffu)) * 0x1p-53;
}
INLINE double positive_of_f64(uint64_t w)
{
    return (small_f64(w >> 32) * 0x1p32 + small_f64(w & 0xffffffffu) + 0.5) * 0x1p-64;
}
INLINE double sin_of_f64(uint64_t w)
{
    const uint64_t turned = w + (UINT64_C(1) << 62);
    const double x = from_bits_f64((turned << 1) >> 12 | UINT64_C(0x3ff0000000000000)) - 1.5;
    return sin_core_f64(from_bits_f64(bits_f64(x * 0x1.921fb54442d18p1) ^ (turned & UINT64_C(0x8000000000000000))));
}
INLINE double minus_log_f64(double x)
{
    const log_f64_parts c = log_core_f64(x);
    return -FMA(c.k, 0x1.62e42fefa38p-1, FMA(c.k, 0x1.ef35793c7673p-45, c.ln));
}
#endif

/* what a number of this dtype is made of, and how many are in a tile */
#undef TILE
#undef SOURCE
#undef QUARTER
#define SOURCE BITS
#define TILE ((ptrdiff_t)(16 / sizeof(REAL) * LANES))
#define QUARTER ((BITS)1 << (8 * sizeof(REAL) - 2))         /* of a turn */

INLINE void V(source_tile)(uint64_t key, uint64_t block, BITS *x)
{
#if MANTISSA == 23
    philox_tile(key, block, (uint32_t (*)[LANES])x);
#else
    wide_tile(key, block, x);
#endif
}

static ptrdiff_t V(uniform)(ptrdiff_t first, ptrdiff_t last, const int64_t *state, REAL *restrict y, ptrdiff_t n)
{
    for (ptrdiff_t at = first * UNIT; at < last * UNIT && at < n; at += TILE) {
        const ptrdiff_t m = n - at < TILE ? n - at : TILE;
        BITS x[TILE];
        V(source_tile)(state[0], (uint64_t)state[1] + at / TILE * LANES, x);
        for (ptrdiff_t j = 0; j < m; j++)
            y[at + j] = V(uniform_of)(x[j]);
    }
    return MGX_DONE;
}

/* Box and Muller (1958): of two numbers of a tile, LANES apart, one is a radius and one an angle */
static ptrdiff_t V(normal)(ptrdiff_t first, ptrdiff_t last, const int64_t *state, REAL *restrict y, ptrdiff_t n)
{
    for (ptrdiff_t at = first * UNIT; at < last * UNIT && at < n; at += TILE) {
        BITS x[TILE];
        REAL rest[TILE], *restrict to = n - at < TILE ? rest : y + at;
        V(source_tile)(state[0], (uint64_t)state[1] + at / TILE * LANES, x);
        for (ptrdiff_t j = 0; j < TILE; j += 2 * LANES)
            for (ptrdiff_t l = j; l < j + LANES; l++) {
                const REAL radius = sqrt(K(2) * V(minus_log)(V(positive_of)(x[l])));
                to[l] = radius * V(sin_of)(x[l + LANES] + QUARTER);
                to[l + LANES] = radius * V(sin_of)(x[l + LANES]);
            }
        if (to == rest)
            memcpy(y + at, rest, (n - at) * sizeof(REAL));
    }
    return MGX_DONE;
}

/* element i is kept where word i is above `most`: the same elements in both dtypes */
static ptrdiff_t V(dropout)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict x, const int64_t *state,
                            REAL *restrict y, ptrdiff_t n, ptrdiff_t most, double scale)
{
    const REAL factor = (REAL)scale;
    const uint32_t top = (uint32_t)most;
    for (ptrdiff_t at = first * UNIT; at < last * UNIT && at < n; at += UNIT) {
        const ptrdiff_t m = n - at < UNIT ? n - at : UNIT;
        uint32_t words[4][LANES];
        philox_tile(state[0], (uint64_t)state[1] + at / UNIT * LANES, words);
        for (ptrdiff_t j = 0; j < m; j++)
            y[at + j] = (&words[0][0])[j] > top ? x[at + j] * factor : K(0);
    }
    return MGX_DONE;
}

static ptrdiff_t V(integers)(ptrdiff_t first, ptrdiff_t last, const int64_t *state, int64_t *restrict y, ptrdiff_t n,
                             ptrdiff_t low, ptrdiff_t range)
{
    for (ptrdiff_t at = first * UNIT; at < last * UNIT && at < n; at += 2 * LANES) {
        const ptrdiff_t m = n - at < 2 * LANES ? n - at : 2 * LANES;
        int64_t tile[2 * LANES];
        integers_tile(state[0], (uint64_t)state[1] + at / 2, low, range, tile);
        memcpy(y + at, tile, m * sizeof *y);
    }
    return MGX_DONE;
}

/* Fisher and Yates: i changes places with one of 0..i */
static ptrdiff_t V(permutation)(const int64_t *state, int64_t *restrict y, ptrdiff_t n)
{
    for (ptrdiff_t at = 0, walked = 0; at < n && !BREAKS_OFF(walked, 2 * LANES); at += 2 * LANES) {
        const ptrdiff_t m = n - at < 2 * LANES ? n - at : 2 * LANES;
        const uint64_t block = (uint64_t)state[1] + at / 2;
        uint64_t x[2 * LANES];
        wide_tile(state[0], block, x);
        for (ptrdiff_t j = 0; j < m; j++) {
            const ptrdiff_t i = at + j, other = below(i + 1, x[j], state[0], block + j % LANES, j >= LANES);
            y[i] = y[other];
            y[other] = i;
        }
    }
    return MGX_DONE;
}

static ptrdiff_t V(advance)(int64_t *state, ptrdiff_t blocks)
{
    state[1] = (int64_t)((uint64_t)state[1] + (uint64_t)blocks);
    return MGX_DONE;
}
