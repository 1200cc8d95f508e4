"""Fusion: elementwise launches that follow each other, over the same elements, become one.

What one of them writes for others of them alone never reaches memory: it stays in a tile of the first cache, and from
one light operation to the next in registers (csrc/launch.c, csrc/fused_chain.inl). Every element goes through the same
loops as before, so no bit changes.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from microgradx._core.array cimport Storage, itemsize
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport FUSED, Launch, new_tiles
from microgradx._core.capture.passes cimport LiveRange, LiveRanges


cdef enum: FEW = 64             # elements that are not worth the setting up

cdef struct Light:              # a part of a row that vectors in registers can do as well
    int row, part
    int a, b                    # the arguments that count; b < 0: one only
    int on_a, on_b              # what is done to a with b, and to b with a

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


cdef struct Met:                 # where an operand of the whole is met first
    Py_ssize_t step
    int slot

cdef enum: NOWHERE = -1, OUT = 64, TILE = 128       # places, while it is not known how many operands there will be

cdef struct Whole:              # what is joined
    int count[2]                # of operands that are read, and written
    Met met[2][MGX_MAXOPERANDS]
    int tiles
    int place[MGX_MAXOPS][MGX_MAXARGS]


cdef int fuse(LiveRanges lives) except -1:
    """Join what can be joined, from the first step on."""
    cdef Py_ssize_t i = 0, j, stop, went
    cdef Launch *one
    cdef Whole whole
    while i < lives.sequence.count:
        PyErr_CheckSignals()
        stop = alike(lives, i)
        while stop - i > 1:
            went = join(lives, i, stop, &whole)
            if went == stop:
                one = fused_launch(lives, i, stop, &whole)
                for j in range(i, stop):
                    lives.drop(j)
                lives.sequence.launch[i] = one
                break
            stop = went                             # too much for one launch: as far as it went
        i = max(stop, i + 1)
    lives.compact()
    return 0


cdef bint in_order(Launch *s, int k) noexcept:
    """Does a step read or write this operand as it lies, in its own dtype?"""
    cdef Py_ssize_t step
    cdef int d
    cdef const mgx_operand *o
    if s.tiles == NULL:
        return True
    o = &s.tiles.operand[k]
    if o.dtype != s.dtype:
        return False
    step = itemsize[s.dtype]
    for d in range(s.tiles.ndim - 1, -1, -1):
        if s.tiles.shape[d] != 1 and o.strides[d] != step:
            return False
        step *= s.tiles.shape[d]
    return True


cdef bint same_elements(Launch *s, int k, Launch *t, int j) noexcept:
    """Do two operands, of steps over one shape, lie in the same place, their elements taken in the same order?"""
    cdef int d
    cdef bint lies = in_order(s, k)
    cdef const mgx_operand *o
    cdef const mgx_operand *q
    if s.storage[k] != t.storage[j] or s.args.p[k] != t.args.p[j] or lies != in_order(t, j):
        return False
    if lies:
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


cdef bint fuses_with(LiveRanges lives, Py_ssize_t first, Py_ssize_t i) noexcept:
    """Does step ``i`` see what the steps from ``first`` on write element by element, and they what it writes?"""
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


cdef Py_ssize_t alike(LiveRanges lives, Py_ssize_t first) noexcept:
    """The end of the steps from ``first`` on that can run element by element: what one of them writes, they all see in
    the same order."""
    cdef Py_ssize_t i
    cdef Launch *s
    cdef Launch *head = lives.sequence.launch[first]
    cdef const mgx_tiles *shape = NULL
    for i in range(first, min(lives.sequence.count, first + MGX_MAXOPS)):
        s = lives.sequence.launch[i]
        if s.loop == NULL or s.dtype != head.dtype or s.args.n[0] != head.args.n[0] or s.args.n[0] <= FEW:
            return i
        if s.tiles != NULL:
            if shape == NULL:
                shape = s.tiles
            if not same_shape(shape, s.tiles):
                return i
        if not fuses_with(lives, first, i):
            return i
    return min(lives.sequence.count, first + MGX_MAXOPS)


cdef int meet(Whole *whole, bint written, LiveRanges lives, Py_ssize_t i, int k) noexcept:
    """The number of an operand, slot ``k`` of step ``i``, among those that the whole reads or writes; -1: no room."""
    cdef Launch *s = lives.sequence.launch[i]
    cdef Launch *t
    cdef Met *met = whole.met[written]
    cdef int n
    for n in range(whole.count[written]):
        t = lives.sequence.launch[met[n].step]
        if s.storage[k] == NULL and t.storage[met[n].slot] == NULL:
            if memcmp(&s.tiles.operand[k].number, &t.tiles.operand[met[n].slot].number, sizeof(double)) == 0:
                return n
        elif same_elements(s, k, t, met[n].slot):
            return n
    n = whole.count[written]
    if whole.count[0] + whole.count[1] == MGX_MAXOPERANDS:
        return -1
    met[n].step, met[n].slot = i, k
    whole.count[written] += 1
    return n


cdef Py_ssize_t join(LiveRanges lives, Py_ssize_t first, Py_ssize_t stop, Whole *whole) noexcept:
    """The places of all operands of the steps from ``first`` to ``stop`` in one launch; how far one launch can go."""
    cdef Py_ssize_t i
    cdef int k, place, spares = 0
    cdef int spare[MGX_MAXSLOTS]                    # tiles that hold nothing that is read again
    cdef Launch *s
    cdef LiveRange *life
    whole.count[0] = whole.count[1] = whole.tiles = 0
    for i in range(first, stop):
        for k in range(lives.sequence.launch[i].count):
            if lives.sequence.launch[i].storage[k] != NULL:
                lives.of(lives.sequence.launch[i].storage[k]).at = NOWHERE
    for i in range(first, stop):
        s = lives.sequence.launch[i]
        for k in range(s.count):
            life = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if life == NULL:
                place = whole.place[i - first][0] if s.tiles.operand[k].absent else meet(whole, False, lives, i, k)
            elif s.writes >> k & 1 and not own(life, first, stop):
                place = meet(whole, True, lives, i, k)
                life.at = place = place if place < 0 else OUT + place
            elif life.at != NOWHERE:
                place = <int> life.at
            elif s.writes >> k & 1:
                if spares == 0:
                    spare[0], whole.tiles, spares = TILE + whole.tiles, whole.tiles + 1, 1
                spares -= 1
                life.at = place = spare[spares]
            else:
                place = meet(whole, False, lives, i, k)
            if place < 0 or whole.count[0] + whole.count[1] + whole.tiles > MGX_MAXSLOTS:
                return i
            whole.place[i - first][k] = place
        for k in range(s.count):                    # what is not read again leaves its tile to others
            life = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if life != NULL and life.at != NOWHERE and life.last == i and own(life, first, stop):
                spare[spares], life.at, spares = <int> life.at, NOWHERE, spares + 1
    return stop


cdef bint own(const LiveRange *life, Py_ssize_t first, Py_ssize_t stop) noexcept:
    """Does a storage live between two steps alone?"""
    return life.fresh and life.first >= first and life.last < stop


cdef Launch *fused_launch(LiveRanges lives, Py_ssize_t first, Py_ssize_t stop, const Whole *whole) except NULL:
    """The step of all those operations."""
    cdef Launch *s
    cdef Launch *one = <Launch *> malloc(sizeof(Launch))
    cdef mgx_tiles *job = NULL
    cdef mgx_tiles *shape = NULL
    cdef mgx_op *op
    cdef Py_ssize_t i, step
    cdef Py_ssize_t *strides
    cdef int k, slot, d, nin = whole.count[0], operands = whole.count[0] + whole.count[1]
    if one == NULL:
        raise MemoryError("compile: no memory for another launch")
    for i in range(first, stop):
        if lives.sequence.launch[i].tiles != NULL:
            shape = lives.sequence.launch[i].tiles
    try:
        job = new_tiles(operands, <int> (stop - first), 1 if shape == NULL else shape.ndim)
    except MemoryError:
        free(one)
        raise
    s = lives.sequence.launch[first]
    one[0] = s[0]
    one.table, one.row, one.part, one.loop, one.writes = FUSED, 0, 0, NULL, 0
    one.tiles, one.args.n[0], one.count = job, s.args.n[0], operands
    job.dtype, job.nin, job.nout = s.dtype, nin, whole.count[1]
    job.count, job.slots = <int> (stop - first), operands + whole.tiles
    job.fused_chain = kernels.fused_chain[s.dtype]
    job.shape[0] = s.args.n[0]
    if shape != NULL:
        memcpy(job.shape, shape.shape, shape.ndim * sizeof(Py_ssize_t))
    for k in range(operands):
        i = whole.met[k >= nin][k - nin * (k >= nin)].step
        slot = whole.met[k >= nin][k - nin * (k >= nin)].slot
        s = lives.sequence.launch[i]
        one.storage[k], one.args.p[k] = s.storage[slot], s.args.p[slot]
        one.writes |= (k >= nin) << k
        if s.tiles != NULL:
            strides = job.operand[k].strides
            memcpy(strides, s.tiles.operand[slot].strides, job.ndim * sizeof(Py_ssize_t))
            job.operand[k] = s.tiles.operand[slot]
            job.operand[k].strides = strides
        else:
            job.operand[k].dtype, job.operand[k].absent, step = s.dtype, False, itemsize[s.dtype]
            for d in range(job.ndim - 1, -1, -1):
                job.operand[k].strides[d] = step
                step *= job.shape[d]
        if s.storage[slot] == NULL:
            one.args.p[k] = <char *> &job.operand[k].number
    for i in range(first, stop):
        s, op = lives.sequence.launch[i], &job.op[i - first]
        op.loop, op.name, op.chain_length = s.loop, rows[s.row].name, 0
        for k in range(s.count):
            slot = whole.place[i - first][k]
            op.result = slot if slot < OUT else nin + slot - OUT if slot < TILE else operands + slot - TILE
            op.arg[k] = op.result
        for k in range(s.count, MGX_MAXARGS):
            op.arg[k] = 0
    i = 0
    while i < job.count:
        i += max(1, mark_chain(lives, first, job, i))
    return one


cdef int mark_chain(LiveRanges lives, Py_ssize_t first, mgx_tiles *job, int i) except -1:
    """How many operations from number ``i`` on each work on the result of the one before, and are light."""
    cdef int run = 0, held = -1
    cdef mgx_op *op
    cdef Light *known
    while i + run < job.count:
        op = &job.op[i + run]
        known = light_of(lives.sequence.launch[first + i + run])
        if known == NULL:
            break
        if run == 0:
            held = op.from_ = op.arg[known.a]
        if known.b >= 0 and op.arg[known.a] == op.arg[known.b]:
            break
        if op.arg[known.a] == held:
            op.code, op.with_ = known.on_a, op.arg[known.b] if known.b >= 0 else held
        elif known.b >= 0 and op.arg[known.b] == held:
            op.code, op.with_ = known.on_b, op.arg[known.a]
        else:
            break
        held, op.keep = op.result, True
        if run and (op - 1).result >= job.nin + job.nout and \
                lives.of(result_of(lives.sequence.launch[first + i + run - 1])).last == first + i + run:
            (op - 1).keep = False                   # nobody else reads it
        run += 1
    job.op[i].chain_length = run
    return run


cdef Light *light_of(const Launch *l) noexcept:
    cdef int i
    for i in range(LIGHTS):
        if light[i].row == l.row and light[i].part == l.part:
            return &light[i]
    return NULL


cdef Storage *result_of(Launch *s) noexcept:
    return s.storage[s.count - 1]
