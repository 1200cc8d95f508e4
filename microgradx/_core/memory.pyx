"""Memory: aligned bytes, and blocks of one size for objects that come and go by the million.

A pool's blocks are stored in slabs. A slab whose last block was freed is filled again from its beginning, so the nodes
of a graph lie in the order in which they were made, step after step; and it is kept, because fresh pages from the
system cost more than the arithmetic of the nodes in them. The global interpreter lock is held throughout.
"""

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(_MSC_VER)
    #include <malloc.h>
    static void *mgx_aligned_alloc(size_t bytes, size_t to) { return _aligned_malloc(bytes, to); }
    #define mgx_aligned_free _aligned_free
    #else
    static void *mgx_aligned_alloc(size_t bytes, size_t to) { void *p; return posix_memalign(&p, to, bytes) ? 0 : p; }
    #define mgx_aligned_free free
    #endif
    """
    void *mgx_aligned_alloc(size_t, size_t) nogil
    void mgx_aligned_free(void *) nogil

cdef enum: HEADER = 64, KEPT = 64                   # bytes; slabs of 1 MB, for each pool


cdef void *aligned_alloc(size_t nbytes, size_t alignment) noexcept:
    return mgx_aligned_alloc(nbytes, alignment)


cdef void aligned_free(void *block) noexcept:
    mgx_aligned_free(block)


cdef Slab *new_slab(Pool *pool) noexcept:
    """A slab without a block in use, at the head of those with room."""
    cdef Slab *slab = pool.empty
    if slab != NULL:
        pool.empty = slab.after
        pool.kept -= 1
    else:
        slab = <Slab *> aligned_alloc(SLAB, SLAB)
        if slab == NULL:
            return NULL
        pool.capacity = (SLAB - HEADER) // pool.size
    slab.free, slab.fresh, slab.used = NULL, <char *> slab + HEADER, 0
    link_slab(pool, slab)
    return slab


cdef void link_slab(Pool *pool, Slab *slab) noexcept:
    slab.before, slab.after = NULL, pool.roomy
    if pool.roomy != NULL:
        pool.roomy.before = slab
    pool.roomy = slab


cdef void unlink_slab(Pool *pool, Slab *slab) noexcept:
    """``slab`` leaves the list of those with room."""
    if slab.after != NULL:
        slab.after.before = slab.before
    if slab.before != NULL:
        slab.before.after = slab.after
    else:
        pool.roomy = slab.after


cdef void update_slab(Pool *pool, Slab *slab) noexcept:
    """``slab`` was full and has room again, or it has no block in use any more."""
    if slab.used:
        link_slab(pool, slab)
        return
    unlink_slab(pool, slab)
    if pool.kept < KEPT:
        slab.after = pool.empty
        pool.empty = slab
        pool.kept += 1
    else:
        aligned_free(slab)
