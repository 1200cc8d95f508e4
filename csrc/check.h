/* The checked build (MGX_CHECKED; tools/sanitize makes it) tests what kernels assume, and gives freed memory back at
   once, so that a sanitizer sees its later use. The ordinary build does neither. */
#ifndef MGX_CHECK_H
#define MGX_CHECK_H
#ifdef MGX_CHECKED
#include <stdio.h>
#include <stdlib.h>
enum { MGX_RECYCLES = 0 };
#define MGX_ASSERT(condition) do { \
        if (!(condition)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); abort(); } \
    } while (0)
#else
enum { MGX_RECYCLES = 1 };
#define MGX_ASSERT(condition) ((void)0)
#endif
/* n elements of a type, or none; two stretches of bytes have none in common */
#define MGX_ALIGNED(p, type) ((uintptr_t)(p) % _Alignof(type) == 0)
#define MGX_APART(p, np, q, nq) \
    ((np) <= 0 || (nq) <= 0 || (uintptr_t)(p) + (np) <= (uintptr_t)(q) || (uintptr_t)(q) + (nq) <= (uintptr_t)(p))
#endif
