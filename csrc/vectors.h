/* Vectors of GCC and clang for one instruction set; SHUFFLES says that they can be shuffled too. */
#ifndef MGX_VECTORS_H
#define MGX_VECTORS_H
#if BYTES == 64
#define LANES_OF(f) CAT(CAT(f(0), f(1), 0, 1, 2, 3, 4, 5, 6, 7), CAT(f(2), f(3), 0, 1, 2, 3, 4, 5, 6, 7), \
                        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define RIFFLE(x, y, a, b, c, d) CAT(x, y, a, b, c, d, a + 4, b + 4, c + 4, d + 4, \
                                     a + 8, b + 8, c + 8, d + 8, a + 12, b + 12, c + 12, d + 12)
#elif BYTES == 32
#define LANES_OF(f) CAT(f(0), f(1), 0, 1, 2, 3, 4, 5, 6, 7)
#define RIFFLE(x, y, a, b, c, d) CAT(x, y, a, b, c, d, a + 4, b + 4, c + 4, d + 4)
#else
#define LANES_OF(f) f(0)
#define RIFFLE(x, y, a, b, c, d) CAT(x, y, a, b, c, d)
#endif
#define CAT(...) __builtin_shufflevector(__VA_ARGS__)
#define NEXT (BYTES / 4)                        /* the second operand of a shuffle starts here */
#define W ((int)(BYTES / sizeof(REAL)))
#define SQUARE ((int)(16 / sizeof(REAL)))
#define VEC V(gemm_vec)
#define WORDS V(gemm_words)
#define SIXTEEN V(gemm_sixteen)
#define FEW V(gemm_few)
#if BYTES == 64                                 /* not once more from memory for each of its uses, which GCC prefers */
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v) ((void)0)
#endif
#define WIDEST 4                                /* vectors in a row of a panel */
#define FLAT 16                                 /* so few rows do not pay for turning columns into a panel */
#define DEPTH 128                               /* rows of a panel: 16 kB of 32-byte vectors */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif
#endif
