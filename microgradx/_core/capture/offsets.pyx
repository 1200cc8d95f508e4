"""The offsets of ranges of a program's memory: no two that live at one time overlap, and the whole is small.

Two ways. A sweep goes through the launches in order and gives out memory as an allocator would, from holes in lists by
size, neighbours joined as they become free: quick, and for nets within a few parts in a hundred of the most that lives
at once, which no plan can go below. Larger ranges first, each at the lowest offset that is free as long as it lives, is
better where sizes differ much, and slower: what is occupied during a stretch of launches is read from a tree.
"""
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memmove

cdef enum:
    FEW = 1024              # ranges for which the second way costs nothing that matters
    NEAR = 20               # one part in so many above what lives at once is good enough
    NONE = -1
    BINS = 256              # lists of holes: four to each doubling
    LOOKED_AT = 32          # holes of a list
    MOST_PIECES = 64        # of what is occupied during a stretch; smaller gaps than the others count as occupied


cdef Py_ssize_t assign_offsets(Range *range_, Py_ssize_t count) except -1:
    """Give each range its offset; returns the bytes that all of them take."""
    cdef Py_ssize_t i, live = 0, top = 0, best = -1, steps = 0, placed = 0
    cdef Range *ranges = <Range *> malloc((count + 1) * sizeof(Range))
    cdef Range **order = <Range **> malloc((2 * count + 1) * sizeof(Range *))
    cdef bint backwards
    try:
        if ranges == NULL or order == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i in range(count):
            range_[i].offset = 0
            steps = max(steps, range_[i].last + 1)
            placed += range_[i].size > 0
        for backwards in (False, True) if placed > FEW else ():
            top = sweep(ranges, copied(ranges, range_, count, steps, backwards), order, &live)
            if best < 0 or top < best:
                best = top
                keep_offsets(range_, ranges, placed)
        if best < 0 or best - live > live // NEAR:
            top = larger_first(ranges, copied(ranges, range_, count, steps, False), order, steps)
            if best < 0 or top < best:
                best = top
                keep_offsets(range_, ranges, placed)
    finally:
        free(ranges)
        free(order)
    return best


def offsets_of(ranges):
    """``assign_offsets`` for (first, last, size) of each: the offsets, and the bytes that all of them take.

    >>> from microgradx._core.capture.offsets import offsets_of
    >>> offsets_of([(0, 1, 8), (1, 2, 16), (2, 3, 8)])
    ([16, 0, 16], 24)
    """
    cdef Py_ssize_t i, top
    cdef Range *given = <Range *> malloc((len(ranges) + 1) * sizeof(Range))
    if given == NULL:
        raise MemoryError("compile: no memory for the plan")
    try:
        for i in range(len(ranges)):
            given[i].first, given[i].last, given[i].size = ranges[i]
            if given[i].size % 8 or given[i].size < 0 or not 0 <= given[i].first <= given[i].last:
                raise ValueError(f"compile: {ranges[i]} is no range")
        top = assign_offsets(given, len(ranges))
        return [given[i].offset for i in range(len(ranges))], top
    finally:
        free(given)


cdef Py_ssize_t copied(Range *to, const Range *source, Py_ssize_t count, Py_ssize_t steps, bint backwards) noexcept:
    """The ranges that are not empty, with time reversed if so; how many. ``number`` tells which one each was."""
    cdef Py_ssize_t i, placed = 0
    for i in range(count):
        if source[i].size:
            to[placed] = source[i]
            to[placed].number = i
            if backwards:
                to[placed].first, to[placed].last = steps - 1 - source[i].last, steps - 1 - source[i].first
            placed += 1
    return placed


cdef void keep_offsets(Range *to, const Range *source, Py_ssize_t count) noexcept:
    cdef Py_ssize_t i
    for i in range(count):
        to[source[i].number].offset = source[i].offset


# ----- a sweep ---------------------------------------------------------------------------------------------------

cdef struct Block:          # a part of the memory, given out or a hole
    Py_ssize_t offset, size
    Block *below            # its neighbours in memory
    Block *above
    Block *before           # in the list of holes of about its size
    Block *after
    bint hole

cdef struct Heap:
    Block *bin[BINS]
    Block *last             # the block that no other is above
    Block *unused           # records that were used before, by `after`
    Block *fresh            # the first that was not
    Py_ssize_t top, most


cdef int begins_first(const void *a, const void *b) noexcept nogil:
    cdef const Range *one = (<const Range **> a)[0]
    cdef const Range *other = (<const Range **> b)[0]
    if one.first != other.first:
        return 1 if one.first > other.first else -1
    if one.size != other.size:
        return 1 if one.size < other.size else -1
    return 1 if one > other else -1


cdef int ends_first(const void *a, const void *b) noexcept nogil:
    cdef const Range *one = (<const Range **> a)[0]
    cdef const Range *other = (<const Range **> b)[0]
    if one.last != other.last:
        return 1 if one.last > other.last else -1
    return 1 if one > other else -1


cdef Py_ssize_t sweep(Range *ranges, Py_ssize_t count, Range **order, Py_ssize_t *live) except -1:
    """Offsets in order of time; the bytes that they take. ``live``: the most that is needed at one time."""
    cdef Py_ssize_t i, ended = 0, now = 0
    cdef Range **leaving = order + count
    cdef Block *blocks = <Block *> malloc((2 * count + 1) * sizeof(Block))
    cdef Block **given = <Block **> malloc((count + 1) * sizeof(Block *))
    cdef Heap heap
    if blocks == NULL or given == NULL:
        free(blocks)
        free(given)
        raise MemoryError("compile: no memory for the plan")
    for i in range(BINS):
        heap.bin[i] = NULL
    heap.last, heap.unused, heap.fresh, heap.top, heap.most, live[0] = NULL, NULL, blocks, 0, 0, 0
    for i in range(count):
        order[i] = leaving[i] = &ranges[i]
    qsort(order, count, sizeof(Range *), begins_first)
    qsort(leaving, count, sizeof(Range *), ends_first)
    for i in range(count):
        while leaving[ended].last < order[i].first:
            now -= leaving[ended].size
            give_back(&heap, given[leaving[ended] - ranges])
            ended += 1
        now += order[i].size
        live[0] = max(live[0], now)
        given[order[i] - ranges] = give_out(&heap, order[i].size)
        order[i].offset = given[order[i] - ranges].offset
    free(blocks)
    free(given)
    return heap.most


cdef int bin_of(Py_ssize_t size) noexcept:
    """Four bins to each doubling of a size, which is a multiple of 8."""
    cdef int k = 0
    size >>= 1                                      # 4 or more
    while size >= 8:
        size >>= 1
        k += 4
    return k + <int> (size - 4)


cdef void link_hole(Heap *heap, Block *b) noexcept:
    cdef int k = bin_of(b.size)
    b.hole, b.before, b.after = True, NULL, heap.bin[k]
    if b.after != NULL:
        b.after.before = b
    heap.bin[k] = b


cdef void unlink_hole(Heap *heap, Block *b) noexcept:
    b.hole = False
    if b.after != NULL:
        b.after.before = b.before
    if b.before != NULL:
        b.before.after = b.after
    else:
        heap.bin[bin_of(b.size)] = b.after


cdef void forget(Heap *heap, Block *b) noexcept:
    """A block that has gone into its neighbour below, or is the last and free."""
    if b.above != NULL:
        b.above.below = b.below
    else:
        heap.last = b.below
    if b.below != NULL:
        b.below.above = b.above
    b.after, heap.unused = heap.unused, b


cdef Block *new_record(Heap *heap) noexcept:
    cdef Block *b = heap.unused
    if b != NULL:
        heap.unused = b.after
        return b
    heap.fresh += 1
    return heap.fresh - 1


cdef Block *best_hole(Heap *heap, Py_ssize_t size) noexcept:
    """The smallest of those looked at that is large enough, or NULL."""
    cdef int k, looked
    cdef Block *b
    cdef Block *best = NULL
    for k in range(bin_of(size), BINS):
        b, looked = heap.bin[k], 0
        while b != NULL and looked < LOOKED_AT:
            if b.size >= size and (best == NULL or b.size < best.size):
                best = b
                if b.size == size:
                    return best
            b = b.after
            looked += 1
        if best != NULL:
            return best
    return NULL


cdef Block *give_out(Heap *heap, Py_ssize_t size) noexcept:
    cdef Block *b = best_hole(heap, size)
    cdef Block *rest
    if b != NULL:
        unlink_hole(heap, b)
        if b.size > size:
            rest = new_record(heap)
            rest.offset, rest.size, rest.below, rest.above = b.offset + size, b.size - size, b, b.above
            b.above.below, b.above, b.size = rest, rest, size       # a hole is never the last
            link_hole(heap, rest)
        return b
    b = new_record(heap)
    b.offset, b.size, b.below, b.above, b.hole = heap.top, size, heap.last, NULL, False
    if b.below != NULL:
        b.below.above = b
    heap.last = b
    heap.top += size
    heap.most = max(heap.most, heap.top)
    return b


cdef void give_back(Heap *heap, Block *b) noexcept:
    cdef Block *other = b.above
    if other != NULL and other.hole:
        unlink_hole(heap, other)
        b.size += other.size
        forget(heap, other)
    other = b.below
    if other != NULL and other.hole:
        unlink_hole(heap, other)
        other.size += b.size
        forget(heap, b)
        b = other
    if b.above == NULL:
        heap.top = b.offset
        forget(heap, b)
    else:
        link_hole(heap, b)


# ----- larger ranges first -------------------------------------------------------------------------------------------
# A tree over the launches: node k has children 2k and 2k + 1, and the leaves follow one another. A range is cut into
# the largest nodes that it fills. Each node knows what is occupied at any time within it, and what is occupied
# throughout by ranges that were cut there; so what is occupied at any time during a range is in the first of its own
# nodes, and in the second of all nodes above them.

cdef struct Piece:
    Py_ssize_t start, stop

cdef struct Pieces:         # of memory, in order, none touching the next
    Piece *piece
    int count, room
    bint coarse             # gaps between them were closed

cdef struct Stretch:
    Pieces any, throughout

cdef struct Cursor:
    Pieces *pieces
    int next


cdef int larger_before(const void *a, const void *b) noexcept nogil:
    cdef const Range *one = (<const Range **> a)[0]
    cdef const Range *other = (<const Range **> b)[0]
    if one.size != other.size:
        return 1 if one.size < other.size else -1
    return 1 if one > other else -1


cdef Py_ssize_t larger_first(Range *ranges, Py_ssize_t count, Range **order, Py_ssize_t steps) except -1:
    """Each range, from the largest on, at the lowest place that is free while it lives; the bytes that they take."""
    cdef Py_ssize_t i, leaves = 1, left, right, top = 0
    cdef Py_ssize_t[128] own
    cdef int k, owned, cursors
    cdef bint failed = False
    cdef Cursor cursor[256]
    cdef Range *one
    cdef Stretch *tree
    while leaves < steps:
        leaves *= 2
    tree = <Stretch *> calloc(2 * leaves, sizeof(Stretch))
    if tree == NULL:
        raise MemoryError("compile: no memory for the plan")
    for i in range(count):
        order[i] = &ranges[i]
    qsort(order, count, sizeof(Range *), larger_before)
    for i in range(count):
        one = order[i]
        owned = cursors = 0
        left, right = one.first + leaves, one.last + leaves + 1
        while left < right:
            if left & 1:
                own[owned], owned, left = left, owned + 1, left + 1
            if right & 1:
                right -= 1
                own[owned], owned = right, owned + 1
            left, right = left >> 1, right >> 1
        for k in range(owned):
            cursors = watch(cursor, cursors, &tree[own[k]].any)
        left, right = (one.first + leaves) >> 1, (one.last + leaves) >> 1
        while left:
            cursors = watch(cursor, cursors, &tree[left].throughout)
            if right != left:
                cursors = watch(cursor, cursors, &tree[right].throughout)
            left, right = left >> 1, right >> 1
        one.offset = lowest_gap(cursor, cursors, one.size)
        top = max(top, one.offset + one.size)
        for k in range(owned):
            failed = failed or occupy(&tree[own[k]].throughout, one.offset, one.offset + one.size) < 0
            left = own[k]
            while left and not failed:
                cursors = occupy(&tree[left].any, one.offset, one.offset + one.size)
                if cursors == 0:                    # then the nodes above know it as well
                    break
                failed, left = cursors < 0, left >> 1
        if failed:
            break
    for i in range(2 * leaves):
        free(tree[i].any.piece)
        free(tree[i].throughout.piece)
    free(tree)
    if failed:
        raise MemoryError("compile: no memory for the plan")
    return top


cdef inline int watch(Cursor *cursor, int count, Pieces *pieces) noexcept:
    if pieces.count == 0:
        return count
    cursor[count].pieces, cursor[count].next = pieces, 0
    return count + 1


cdef Py_ssize_t lowest_gap(Cursor *cursor, int count, Py_ssize_t size) noexcept:
    """The lowest place where ``size`` bytes are free in all that the cursors go through."""
    cdef Py_ssize_t at = 0, before = -1
    cdef int k
    cdef Cursor *c
    while at != before:
        before = at
        for k in range(count):
            c = &cursor[k]
            while c.next < c.pieces.count and c.pieces.piece[c.next].start < at + size:
                at = max(at, c.pieces.piece[c.next].stop)
                c.next += 1
    return at


cdef int occupy(Pieces *to, Py_ssize_t start, Py_ssize_t stop) noexcept:
    """Add a piece. 0: nothing has changed, and what is there is exact; 1: it may have; -1: no memory."""
    cdef int low = 0, high = to.count, middle, end
    cdef Piece *p = to.piece
    while low < high:
        middle = (low + high) // 2
        if p[middle].stop < start:
            low = middle + 1
        else:
            high = middle
    if low < to.count and p[low].start <= start and stop <= p[low].stop:
        return to.coarse
    end = low
    while end < to.count and p[end].start <= stop:
        start, stop = min(start, p[end].start), max(stop, p[end].stop)
        end += 1
    if end == low:
        if to.count == to.room:
            p = <Piece *> realloc(p, (2 * to.room + 1) * sizeof(Piece))
            if p == NULL:
                return -1
            to.piece, to.room = p, 2 * to.room + 1
        end = low + 1
        memmove(p + end, p + low, (to.count - low) * sizeof(Piece))
        to.count += 1
    p[low].start, p[low].stop = start, stop
    memmove(p + low + 1, p + end, (to.count - end) * sizeof(Piece))
    to.count -= end - low - 1
    if to.count > MOST_PIECES:
        close_smallest_gap(to)
    return 1


cdef void close_smallest_gap(Pieces *to) noexcept:
    """So that the work for a range is bounded: what is smallest is of the least use to others."""
    cdef int k, at = 0
    cdef Piece *p = to.piece
    for k in range(to.count - 1):
        if p[k + 1].start - p[k].stop < p[at + 1].start - p[at].stop:
            at = k
    p[at].stop = p[at + 1].stop
    to.count -= 1
    memmove(p + at + 1, p + at + 2, (to.count - at - 1) * sizeof(Piece))
    to.coarse = True
