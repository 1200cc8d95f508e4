# Memory: aligned bytes, and blocks of one size for objects that come and go by the million.

from microgradx._core.kernels cimport MGX_RECYCLES

cdef void *aligned_alloc(size_t nbytes, size_t alignment) noexcept
cdef void aligned_free(void *block) noexcept

cdef enum: SLAB = 1 << 20       # bytes

cdef struct Slab:               # at a multiple of SLAB, so that a block finds its slab
    Slab *before                # neighbours in the list of slabs with room
    Slab *after
    void *free                  # blocks that were given back; each begins with the address of the next
    char *fresh                 # the first block that was never taken
    size_t used                 # blocks in use

cdef struct Pool:
    size_t size                 # of a block, in bytes
    size_t capacity             # of a slab, in blocks
    Slab *roomy                 # slabs with room; blocks come from the first
    Slab *empty                 # slabs without a block in use, kept for the next graph
    size_t kept                 # how many

cdef Slab *new_slab(Pool *pool) noexcept
cdef void unlink_slab(Pool *pool, Slab *slab) noexcept
cdef void update_slab(Pool *pool, Slab *slab) noexcept

cdef inline void *pool_alloc(Pool *pool) noexcept:
    """A block with undefined contents; NULL if there is no memory."""
    if not MGX_RECYCLES:
        return aligned_alloc(pool.size, 16)
    cdef Slab *slab = pool.roomy if pool.roomy != NULL else new_slab(pool)
    cdef void *block
    if slab == NULL:
        return NULL
    block = slab.free
    if block != NULL:
        slab.free = (<void **> block)[0]
    else:
        block = slab.fresh
        slab.fresh += pool.size
    slab.used += 1
    if slab.used == pool.capacity:
        unlink_slab(pool, slab)
    return block

cdef inline void pool_free(Pool *pool, void *block) noexcept:
    if not MGX_RECYCLES:
        aligned_free(block)
        return
    cdef Slab *slab = <Slab *> (<size_t> block & ~(<size_t> SLAB - 1))
    (<void **> block)[0] = slab.free
    slab.free = block
    slab.used -= 1
    if slab.used == 0 or slab.used + 1 == pool.capacity:
        update_slab(pool, slab)
