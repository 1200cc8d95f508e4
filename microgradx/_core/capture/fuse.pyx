"""Fusion: elementwise launches that follow each other, over the same elements, become one.

A result that only the fused launches read is never written to memory: it stays in a tile in the L1 cache, and between
two light operations in registers (csrc/launch.c, csrc/fused_chain.inl). Every element goes through the same loops as
before, so no bit changes.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from microgradx._core.array cimport Storage, itemsize
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport FUSED, Launch, new_tiles
from microgradx._core.capture.passes cimport LiveRange, LiveRanges


cdef enum: TOO_SMALL = 64       # so many elements are not worth a fused launch

cdef struct Light:              # a loop of a row that a chain can do with vectors in registers
    int row, part
    int a, b                    # the arguments that the loop reads; b < 0: only one
    int on_a, on_b              # the code where a is in registers, and where b is

cdef enum: LIGHTS = 11
cdef Light light[LIGHTS]
light[0] = Light(MGX_add, MGX_FORWARD, 0, 1, MGX_LIGHT_ADD, MGX_LIGHT_ADD)
light[1] = Light(MGX_sub, MGX_FORWARD, 0, 1, MGX_LIGHT_SUB, MGX_LIGHT_SUB_FROM)
light[2] = Light(MGX_mul, MGX_FORWARD, 0, 1, MGX_LIGHT_MUL, MGX_LIGHT_MUL)
light[3] = Light(MGX_div, MGX_FORWARD, 0, 1, MGX_LIGHT_DIV, MGX_LIGHT_DIV_INTO)
light[4] = Light(MGX_mul_no_nan, MGX_FORWARD, 0, 1, MGX_LIGHT_MUL_NO_NAN, MGX_LIGHT_MUL_NO_NAN_INTO)
light[5] = Light(MGX_mul, MGX_VJP0, 0, 2, MGX_LIGHT_MUL_NO_NAN, MGX_LIGHT_MUL_NO_NAN_INTO)
light[6] = Light(MGX_mul, MGX_VJP0 + 1, 0, 1, MGX_LIGHT_MUL_NO_NAN, MGX_LIGHT_MUL_NO_NAN_INTO)
light[7] = Light(MGX_clone, MGX_FORWARD, 0, -1, MGX_LIGHT_NONE, 0)
light[8] = Light(MGX_neg, MGX_FORWARD, 0, -1, MGX_LIGHT_NEG, 0)
light[9] = Light(MGX_square, MGX_FORWARD, 0, -1, MGX_LIGHT_SQUARE, 0)
light[10] = Light(MGX_relu, MGX_FORWARD, 0, -1, MGX_LIGHT_RELU, 0)


cdef struct FirstUse:           # the first launch that uses an operand of the fused launch
    Py_ssize_t launch
    int operand                 # its index there

cdef enum: UNASSIGNED = -1, OUTPUTS = 64, TILES = 128       # slots, while the numbers of operands are not known

cdef struct FusionPlan:         # the operands of a fused launch, and the slots of its operations
    int count[2]                # of operands that are read, and written
    FirstUse first_use[2][MGX_MAXOPERANDS]
    int tiles                   # of scratch memory
    int slot[MGX_MAXOPS][MGX_MAXARGS]


cdef int fuse(LiveRanges lives) except -1:
    """Fuse all launches that can be fused, from the first on."""
    cdef Py_ssize_t i = 0, j, stop, end
    cdef Launch *fused
    cdef FusionPlan plan
    while i < lives.sequence.count:
        PyErr_CheckSignals()
        stop = end_of_fusible(lives, i)
        while stop - i > 1:
            end = assign_slots(lives, i, stop, &plan)
            if end == stop:
                fused = fused_launch(lives, i, stop, &plan)
                for j in range(i, stop):
                    lives.drop(j)
                lives.sequence.launch[i] = fused
                break
            stop = end                              # too many operands for one launch: fuse those before
        i = max(stop, i + 1)
    lives.compact()
    return 0


cdef bint is_contiguous(Launch *s, int k) noexcept:
    """Does a launch read or write this operand in place: contiguous, and in the dtype of the launch?"""
    cdef Py_ssize_t stride
    cdef int d
    cdef const mgx_operand *o
    if s.tiles == NULL:
        return True
    o = &s.tiles.operand[k]
    if o.dtype != s.dtype:
        return False
    stride = itemsize[s.dtype]
    for d in range(s.tiles.ndim - 1, -1, -1):
        if s.tiles.shape[d] != 1 and o.strides[d] != stride:
            return False
        stride *= s.tiles.shape[d]
    return True


cdef bint same_elements(Launch *s, int k, Launch *t, int j) noexcept:
    """Are two operands, of launches over one shape, the same memory, read in the same order?"""
    cdef int d
    cdef bint contiguous = is_contiguous(s, k)
    cdef const mgx_operand *o
    cdef const mgx_operand *q
    if s.storage[k] != t.storage[j] or s.args.p[k] != t.args.p[j] or contiguous != is_contiguous(t, j):
        return False
    if contiguous:
        return True
    o, q = &s.tiles.operand[k], &t.tiles.operand[j]
    if o.dtype != q.dtype:
        return False
    for d in range(s.tiles.ndim):
        if s.tiles.shape[d] != 1 and o.strides[d] != q.strides[d]:
            return False
    return True


cdef bint same_shape(const mgx_tiles *a, const mgx_tiles *b) noexcept:
    cdef int d
    if a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.shape[d] != b.shape[d]:
            return False
    return True


cdef bint can_fuse(LiveRanges lives, Py_ssize_t first, Py_ssize_t i) noexcept:
    """Can launch ``i`` run element by element with those from ``first`` on: do the others read what one of them writes
    in the same order?"""
    cdef Py_ssize_t before
    cdef int k, j
    cdef Launch *s = lives.sequence.launch[i]
    cdef Launch *t
    for before in range(first, i + 1):
        t = lives.sequence.launch[before]
        for k in range(s.count):
            for j in range(t.count):
                if s.storage[k] != NULL and s.storage[k] == t.storage[j] and (s.writes >> k | t.writes >> j) & 1 \
                        and not same_elements(s, k, t, j):
                    return False
    return True


cdef Py_ssize_t end_of_fusible(LiveRanges lives, Py_ssize_t first) noexcept:
    """The end of the launches from ``first`` on that can be fused, as far as the order of elements goes."""
    cdef Py_ssize_t i
    cdef Launch *s
    cdef Launch *head = lives.sequence.launch[first]
    cdef const mgx_tiles *shape = NULL
    for i in range(first, min(lives.sequence.count, first + MGX_MAXOPS)):
        s = lives.sequence.launch[i]
        if s.loop == NULL or s.dtype != head.dtype or s.args.n[0] != head.args.n[0] or s.args.n[0] <= TOO_SMALL:
            return i
        if s.tiles != NULL:
            if shape == NULL:
                shape = s.tiles
            if not same_shape(shape, s.tiles):
                return i
        if not can_fuse(lives, first, i):
            return i
    return min(lives.sequence.count, first + MGX_MAXOPS)


cdef int number_operand(FusionPlan *plan, bint written, LiveRanges lives, Py_ssize_t i, int k) noexcept:
    """The number of operand ``k`` of launch ``i`` among those that the fused launch reads or writes; -1: no room."""
    cdef Launch *s = lives.sequence.launch[i]
    cdef Launch *t
    cdef FirstUse *use = plan.first_use[written]
    cdef int n
    for n in range(plan.count[written]):
        t = lives.sequence.launch[use[n].launch]
        if s.storage[k] == NULL and t.storage[use[n].operand] == NULL:
            if memcmp(&s.tiles.operand[k].number, &t.tiles.operand[use[n].operand].number, sizeof(double)) == 0:
                return n
        elif same_elements(s, k, t, use[n].operand):
            return n
    n = plan.count[written]
    if plan.count[0] + plan.count[1] == MGX_MAXOPERANDS:
        return -1
    use[n].launch, use[n].operand = i, k
    plan.count[written] += 1
    return n


cdef Py_ssize_t assign_slots(LiveRanges lives, Py_ssize_t first, Py_ssize_t stop, FusionPlan *plan) noexcept:
    """Give all operands of the launches from ``first`` to ``stop`` slots in one launch; returns where its slots end."""
    cdef Py_ssize_t i
    cdef int k, slot, free_count = 0
    cdef int free_tile[MGX_MAXSLOTS]                # tiles that hold nothing that is read again
    cdef Launch *s
    cdef LiveRange *life
    plan.count[0] = plan.count[1] = plan.tiles = 0
    for i in range(first, stop):
        for k in range(lives.sequence.launch[i].count):
            if lives.sequence.launch[i].storage[k] != NULL:
                lives.of(lives.sequence.launch[i].storage[k]).slot = UNASSIGNED
    for i in range(first, stop):
        s = lives.sequence.launch[i]
        for k in range(s.count):
            life = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if life == NULL:
                slot = plan.slot[i - first][0] if s.tiles.operand[k].absent else \
                    number_operand(plan, False, lives, i, k)
            elif s.writes >> k & 1 and not is_used_only_within(life, first, stop):
                slot = number_operand(plan, True, lives, i, k)
                life.slot = slot = slot if slot < 0 else OUTPUTS + slot
            elif life.slot != UNASSIGNED:
                slot = life.slot
            elif s.writes >> k & 1:
                if free_count == 0:
                    free_tile[0], plan.tiles, free_count = TILES + plan.tiles, plan.tiles + 1, 1
                free_count -= 1
                life.slot = slot = free_tile[free_count]
            else:
                slot = number_operand(plan, False, lives, i, k)
            if slot < 0 or plan.count[0] + plan.count[1] + plan.tiles > MGX_MAXSLOTS:
                return i
            plan.slot[i - first][k] = slot
        for k in range(s.count):                    # a tile that is not read again is free for others
            life = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if life != NULL and life.slot != UNASSIGNED and life.last == i and is_used_only_within(life, first, stop):
                free_tile[free_count], life.slot, free_count = life.slot, UNASSIGNED, free_count + 1
    return stop


cdef bint is_used_only_within(const LiveRange *life, Py_ssize_t first, Py_ssize_t stop) noexcept:
    """Is a storage made and read only by the launches from ``first`` to ``stop``?"""
    return life.fresh and life.first >= first and life.last < stop


cdef Launch *fused_launch(LiveRanges lives, Py_ssize_t first, Py_ssize_t stop, const FusionPlan *plan) except NULL:
    """The launch of all operations from ``first`` to ``stop``."""
    cdef Launch *s
    cdef Launch *fused = <Launch *> malloc(sizeof(Launch))
    cdef mgx_tiles *tiles = NULL
    cdef mgx_tiles *shape = NULL
    cdef mgx_op *op
    cdef Py_ssize_t i, stride
    cdef Py_ssize_t *strides
    cdef int k, slot, d, nin = plan.count[0], operands = plan.count[0] + plan.count[1]
    if fused == NULL:
        raise MemoryError("compile: no memory for another launch")
    for i in range(first, stop):
        if lives.sequence.launch[i].tiles != NULL:
            shape = lives.sequence.launch[i].tiles
    try:
        tiles = new_tiles(operands, <int> (stop - first), 1 if shape == NULL else shape.ndim)
    except MemoryError:
        free(fused)
        raise
    s = lives.sequence.launch[first]
    fused[0] = s[0]
    fused.table, fused.row, fused.part, fused.loop, fused.writes = FUSED, 0, 0, NULL, 0
    fused.tiles, fused.args.n[0], fused.count = tiles, s.args.n[0], operands
    tiles.dtype, tiles.nin, tiles.nout = s.dtype, nin, plan.count[1]
    tiles.count, tiles.slots = <int> (stop - first), operands + plan.tiles
    tiles.fused_chain = kernels.fused_chain[s.dtype]
    tiles.shape[0] = s.args.n[0]
    if shape != NULL:
        memcpy(tiles.shape, shape.shape, shape.ndim * sizeof(Py_ssize_t))
    for k in range(operands):
        i = plan.first_use[k >= nin][k - nin * (k >= nin)].launch
        slot = plan.first_use[k >= nin][k - nin * (k >= nin)].operand
        s = lives.sequence.launch[i]
        fused.storage[k], fused.args.p[k] = s.storage[slot], s.args.p[slot]
        fused.writes |= (k >= nin) << k
        if s.tiles != NULL:
            strides = tiles.operand[k].strides
            memcpy(strides, s.tiles.operand[slot].strides, tiles.ndim * sizeof(Py_ssize_t))
            tiles.operand[k] = s.tiles.operand[slot]
            tiles.operand[k].strides = strides
        else:
            tiles.operand[k].dtype, tiles.operand[k].absent, stride = s.dtype, False, itemsize[s.dtype]
            for d in range(tiles.ndim - 1, -1, -1):
                tiles.operand[k].strides[d] = stride
                stride *= tiles.shape[d]
        if s.storage[slot] == NULL:
            fused.args.p[k] = <char *> &tiles.operand[k].number
    for i in range(first, stop):
        s, op = lives.sequence.launch[i], &tiles.op[i - first]
        op.loop, op.name, op.chain_length = s.loop, rows[s.row].name, 0
        for k in range(s.count):
            slot = plan.slot[i - first][k]
            op.result = slot if slot < OUTPUTS else nin + slot - OUTPUTS if slot < TILES else operands + slot - TILES
            op.arg[k] = op.result
        for k in range(s.count, MGX_MAXARGS):
            op.arg[k] = 0
    i = 0
    while i < tiles.count:
        i += max(1, mark_chain(lives, first, tiles, i))
    return fused


cdef int mark_chain(LiveRanges lives, Py_ssize_t first, mgx_tiles *tiles, int i) except -1:
    """How many light operations from number ``i`` on each read the result of the one before."""
    cdef int length = 0, held = -1
    cdef mgx_op *op
    cdef Light *light_
    while i + length < tiles.count:
        op = &tiles.op[i + length]
        light_ = find_light(lives.sequence.launch[first + i + length])
        if light_ == NULL:
            break
        if length == 0:
            held = op.from_ = op.arg[light_.a]
        if light_.b >= 0 and op.arg[light_.a] == op.arg[light_.b]:
            break
        if op.arg[light_.a] == held:
            op.code, op.with_ = light_.on_a, op.arg[light_.b] if light_.b >= 0 else held
        elif light_.b >= 0 and op.arg[light_.b] == held:
            op.code, op.with_ = light_.on_b, op.arg[light_.a]
        else:
            break
        held, op.keep = op.result, True
        if length and (op - 1).result >= tiles.nin + tiles.nout and \
                lives.of(result_storage(lives.sequence.launch[first + i + length - 1])).last == first + i + length:
            (op - 1).keep = False                   # no other operation reads it
        length += 1
    tiles.op[i].chain_length = length
    return length


cdef Light *find_light(const Launch *l) noexcept:
    cdef int i
    for i in range(LIGHTS):
        if light[i].row == l.row and light[i].part == l.part:
            return &light[i]
    return NULL


cdef Storage *result_storage(Launch *s) noexcept:
    return s.storage[s.count - 1]
