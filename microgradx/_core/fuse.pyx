"""Fusion: elementwise launches that follow each other, over the same elements, become one.

What one of them writes for others of them alone never reaches memory: it stays in a tile of the first cache, and from
one light operation to the next in registers (csrc/launch.c, csrc/streak.inl). Every element goes through the same
loops as before, so no bit changes.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from microgradx._core.array cimport Storage, itemsize
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Step, begin, run_tiles
from microgradx._core.passes cimport Life, Lives


cdef enum: FEW = 64             # elements that are not worth the setting up

cdef struct Light:              # a loop that vectors in registers can do as well
    mgx_loop loop
    int a, b                    # the arguments that count; b < 0: one only
    int on_a, on_b              # what is done to a with b, and to b with a

cdef Light light[2][14]

cdef int tell(int dtype, int i, mgx_loop loop, int a, int b, int on_a, int on_b) except -1:
    light[dtype][i].loop, light[dtype][i].a, light[dtype][i].b = loop, a, b
    light[dtype][i].on_a, light[dtype][i].on_b = on_a, on_b
    return i + 1

cdef int tell_all(int dtype) except -1:
    cdef const mgx_loops *row = kernels.rows[dtype]
    cdef int i = 0
    i = tell(dtype, i, row[MGX_add].forward, 0, 1, MGX_LIGHT_ADD, MGX_LIGHT_ADD)
    i = tell(dtype, i, row[MGX_sub].forward, 0, 1, MGX_LIGHT_SUB, MGX_LIGHT_SUB_FROM)
    i = tell(dtype, i, row[MGX_mul].forward, 0, 1, MGX_LIGHT_MUL, MGX_LIGHT_MUL)
    i = tell(dtype, i, row[MGX_div].forward, 0, 1, MGX_LIGHT_DIV, MGX_LIGHT_DIV_INTO)
    i = tell(dtype, i, row[MGX_chain].forward, 0, 1, MGX_LIGHT_CHAIN, MGX_LIGHT_CHAIN_INTO)
    i = tell(dtype, i, row[MGX_mul].vjp[0], 0, 2, MGX_LIGHT_CHAIN, MGX_LIGHT_CHAIN_INTO)
    i = tell(dtype, i, row[MGX_mul].vjp[1], 0, 1, MGX_LIGHT_CHAIN, MGX_LIGHT_CHAIN_INTO)
    i = tell(dtype, i, row[MGX_clone].forward, 0, -1, MGX_LIGHT_NONE, 0)
    i = tell(dtype, i, row[MGX_neg].forward, 0, -1, MGX_LIGHT_NEG, 0)
    i = tell(dtype, i, row[MGX_square].forward, 0, -1, MGX_LIGHT_SQUARE, 0)
    return tell(dtype, i, row[MGX_relu].forward, 0, -1, MGX_LIGHT_RELU, 0)

tell_all(MGX_F32)
tell_all(MGX_F64)


cdef struct Met:                 # where an operand of the whole is met first
    Py_ssize_t step
    int slot

cdef enum: NOWHERE = -1, OUT = 64, TILE = 128       # places, while it is not known how many operands there will be

cdef struct Whole:              # what is joined
    int count[2]                # of operands that are read, and written
    Met met[2][MGX_MAXOPERANDS]
    int tiles
    int place[MGX_MAXOPS][MGX_MAXARGS]


cdef int fuse(Lives lives) except -1:
    """Join what can be joined, from the first step on."""
    cdef Py_ssize_t i = 0, j, stop, went
    cdef Step *one
    cdef Whole whole
    while i < lives.tape.count:
        stop = alike(lives, i)
        while stop - i > 1:
            went = join(lives, i, stop, &whole)
            if went == stop:
                one = written_out(lives, i, stop, &whole)
                for j in range(i, stop):
                    lives.drop(j)
                lives.tape.step[i] = one
                break
            stop = went                             # too much for one launch: as far as it went
        i = max(stop, i + 1)
    lives.close_ranks()
    return 0


cdef bint in_order(Step *s, int k) noexcept:
    """Does a step read or write this operand as it lies, in its own dtype?"""
    cdef Py_ssize_t step
    cdef int d
    cdef const mgx_operand *o
    if s.job == NULL:
        return True
    o = &s.job.operand[k]
    if o.dtype != s.dtype:
        return False
    step = itemsize[s.dtype]
    for d in range(s.job.ndim - 1, -1, -1):
        if s.job.shape[d] != 1 and o.strides[d] != step:
            return False
        step *= s.job.shape[d]
    return True


cdef bint same_elements(Step *s, int k, Step *t, int j) noexcept:
    """Do two operands, of steps over one shape, lie in the same place, their elements taken in the same order?"""
    cdef int d
    cdef bint lies = in_order(s, k)
    cdef const mgx_operand *o
    cdef const mgx_operand *q
    if s.storage[k] != t.storage[j] or s.p[k] != t.p[j] or lies != in_order(t, j):
        return False
    if lies:
        return True
    o, q = &s.job.operand[k], &t.job.operand[j]
    if o.dtype != q.dtype:
        return False
    for d in range(s.job.ndim):
        if s.job.shape[d] != 1 and o.strides[d] != q.strides[d]:
            return False
    return True


cdef bint same_shape(const mgx_launch *a, const mgx_launch *b) noexcept:
    cdef int d
    if a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.shape[d] != b.shape[d]:
            return False
    return True


cdef bint goes_with(Lives lives, Py_ssize_t first, Py_ssize_t i) noexcept:
    """Does step ``i`` see what the steps from ``first`` on write element by element, and they what it writes?"""
    cdef Py_ssize_t before
    cdef int k, j
    cdef Step *s = lives.tape.step[i]
    cdef Step *t
    for before in range(first, i + 1):
        t = lives.tape.step[before]
        for k in range(s.slots):
            for j in range(t.slots):
                if s.storage[k] != NULL and s.storage[k] == t.storage[j] and (s.written >> k | t.written >> j) & 1 \
                        and not same_elements(s, k, t, j):
                    return False
    return True


cdef Py_ssize_t alike(Lives lives, Py_ssize_t first) noexcept:
    """The end of the steps from ``first`` on that can run element by element: what one of them writes, they all see in
    the same order."""
    cdef Py_ssize_t i
    cdef Step *s
    cdef Step *head = lives.tape.step[first]
    cdef const mgx_launch *shape = NULL
    for i in range(first, min(lives.tape.count, first + MGX_MAXOPS)):
        s = lives.tape.step[i]
        if s.loop == NULL or s.dtype != head.dtype or s.n[0] != head.n[0] or s.n[0] <= FEW:
            return i
        if s.job != NULL:
            if shape == NULL:
                shape = s.job
            if not same_shape(shape, s.job):
                return i
        if not goes_with(lives, first, i):
            return i
    return min(lives.tape.count, first + MGX_MAXOPS)


cdef int meet(Whole *whole, bint written, Lives lives, Py_ssize_t i, int k) noexcept:
    """The number of an operand, slot ``k`` of step ``i``, among those that the whole reads or writes; -1: no room."""
    cdef Step *s = lives.tape.step[i]
    cdef Step *t
    cdef Met *met = whole.met[written]
    cdef int n
    for n in range(whole.count[written]):
        t = lives.tape.step[met[n].step]
        if s.storage[k] == NULL and t.storage[met[n].slot] == NULL:
            if memcmp(&s.job.operand[k].number, &t.job.operand[met[n].slot].number, sizeof(double)) == 0:
                return n
        elif same_elements(s, k, t, met[n].slot):
            return n
    n = whole.count[written]
    if whole.count[0] + whole.count[1] == MGX_MAXOPERANDS:
        return -1
    met[n].step, met[n].slot = i, k
    whole.count[written] += 1
    return n


cdef Py_ssize_t join(Lives lives, Py_ssize_t first, Py_ssize_t stop, Whole *whole) noexcept:
    """The places of all operands of the steps from ``first`` to ``stop`` in one launch; how far one launch can go."""
    cdef Py_ssize_t i
    cdef int k, place, spares = 0
    cdef int spare[MGX_MAXPLACES]                   # tiles that hold nothing that is read again
    cdef Step *s
    cdef Life *life
    whole.count[0] = whole.count[1] = whole.tiles = 0
    for i in range(first, stop):
        for k in range(lives.tape.step[i].slots):
            if lives.tape.step[i].storage[k] != NULL:
                lives.of(lives.tape.step[i].storage[k]).at = NOWHERE
    for i in range(first, stop):
        s = lives.tape.step[i]
        for k in range(s.slots):
            life = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if life == NULL:
                place = whole.place[i - first][0] if s.job.operand[k].absent else meet(whole, False, lives, i, k)
            elif s.written >> k & 1 and not own(life, first, stop):
                place = meet(whole, True, lives, i, k)
                life.at = place = place if place < 0 else OUT + place
            elif life.at != NOWHERE:
                place = <int> life.at
            elif s.written >> k & 1:
                if spares == 0:
                    spare[0], whole.tiles, spares = TILE + whole.tiles, whole.tiles + 1, 1
                spares -= 1
                life.at = place = spare[spares]
            else:
                place = meet(whole, False, lives, i, k)
            if place < 0 or whole.count[0] + whole.count[1] + whole.tiles > MGX_MAXPLACES:
                return i
            whole.place[i - first][k] = place
        for k in range(s.slots):                    # what is not read again leaves its tile to others
            life = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if life != NULL and life.at != NOWHERE and life.last == i and own(life, first, stop):
                spare[spares], life.at, spares = <int> life.at, NOWHERE, spares + 1
    return stop


cdef bint own(const Life *life, Py_ssize_t first, Py_ssize_t stop) noexcept:
    """Does a storage live between two steps alone?"""
    return life.fresh and life.first >= first and life.last < stop


cdef Step *written_out(Lives lives, Py_ssize_t first, Py_ssize_t stop, const Whole *whole) except NULL:
    """The step of all those operations."""
    cdef Step *s
    cdef Step *one = <Step *> malloc(sizeof(Step))
    cdef mgx_launch *job = <mgx_launch *> malloc(sizeof(mgx_launch))
    cdef mgx_launch *shape = NULL
    cdef mgx_op *op
    cdef Py_ssize_t i, step
    cdef int k, slot, d, nin = whole.count[0], operands = whole.count[0] + whole.count[1]
    if one == NULL or job == NULL:
        free(one)
        free(job)
        raise MemoryError("compile: no memory for another launch")
    for i in range(first, stop):
        if lives.tape.step[i].job != NULL:
            shape = lives.tape.step[i].job
    s = lives.tape.step[first]
    begin(one, run_tiles, b"fused", s.dtype)
    one.job, one.n[0], one.slots = job, s.n[0], operands
    job.dtype, job.nin, job.nout = s.dtype, nin, whole.count[1]
    job.count, job.places = <int> (stop - first), operands + whole.tiles
    job.streak = kernels.streak[s.dtype]
    job.ndim, job.shape[0] = 1, s.n[0]
    if shape != NULL:
        job.ndim, job.shape = shape.ndim, shape.shape
    for k in range(operands):
        i = whole.met[k >= nin][k - nin * (k >= nin)].step
        slot = whole.met[k >= nin][k - nin * (k >= nin)].slot
        s = lives.tape.step[i]
        one.storage[k], one.p[k] = s.storage[slot], s.p[slot]
        one.written |= (k >= nin) << k
        if s.job != NULL:
            job.operand[k] = s.job.operand[slot]
        else:
            job.operand[k].dtype, job.operand[k].absent, step = s.dtype, False, itemsize[s.dtype]
            for d in range(job.ndim - 1, -1, -1):
                job.operand[k].strides[d] = step
                step *= job.shape[d]
        if s.storage[slot] == NULL:
            one.p[k] = <char *> &job.operand[k].number
    for i in range(first, stop):
        s, op = lives.tape.step[i], &job.op[i - first]
        op.loop, op.name, op.streak = s.loop, s.name, 0
        for k in range(s.slots):
            slot = whole.place[i - first][k]
            op.result = slot if slot < OUT else nin + slot - OUT if slot < TILE else operands + slot - TILE
            op.arg[k] = op.result
        for k in range(s.slots, MGX_MAXARGS):
            op.arg[k] = 0
    i = 0
    while i < job.count:
        i += max(1, mark_streak(lives, first, job, i))
    return one


cdef int mark_streak(Lives lives, Py_ssize_t first, mgx_launch *job, int i) except -1:
    """How many operations from number ``i`` on each work on the result of the one before, and are light."""
    cdef int run = 0, held = -1
    cdef mgx_op *op
    cdef Light *known
    while i + run < job.count:
        op = &job.op[i + run]
        known = light_of(job.dtype, op.loop)
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
                lives.of(result_of(lives.tape.step[first + i + run - 1])).last == first + i + run:
            (op - 1).keep = False                   # nobody else reads it
        run += 1
    job.op[i].streak = run
    return run


cdef Light *light_of(int dtype, mgx_loop loop) noexcept:
    cdef int i = 0
    while light[dtype][i].loop != NULL:
        if light[dtype][i].loop == loop:
            return &light[dtype][i]
        i += 1
    return NULL


cdef Storage *result_of(Step *s) noexcept:
    return s.storage[s.slots - 1]
