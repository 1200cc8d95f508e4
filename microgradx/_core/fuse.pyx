"""Fusion: elementwise launches that follow each other, over the same elements, become one.

What one of them writes for others of them alone never reaches memory: it stays in a tile of the first cache, and from
one light operation to the next in registers (csrc/launch.c, csrc/streak.inl). Every element goes through the same
loops as before, so no bit changes.
"""
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport Storage, itemsize
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Step, begin, run_tiles
from microgradx._core.passes cimport Life, Lives, drop


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


cdef int fuse(Lives lives) except -1:
    """Join what can be joined, from the first step on."""
    cdef Py_ssize_t i = 0, j, stop
    cdef Step *whole
    while i < lives.tape.count:
        stop = alike(lives, i)
        while stop - i > 1:
            found = joined(lives, i, stop)
            if len(found) > 1:
                operations, ins, outs, places = found
                whole = written_out(lives, i, operations, ins, outs, places)
                for j in range(i, stop):
                    drop(&lives.tape.step[j])
                lives.tape.step[i] = whole
                break
            stop = found[0]                         # too much for one launch: as far as it went
        i = max(stop, i + 1)
    return lives.close_ranks()


cdef tuple mapping(Step *s, int k):
    """Where the elements of an operand lie, in the order in which a step takes them; None where they lie in order."""
    cdef Py_ssize_t step
    cdef int d
    cdef bint lies
    cdef const mgx_operand *o
    if s.job == NULL:
        return None
    o = &s.job.operand[k]
    step, lies = itemsize[s.dtype], o.dtype == s.dtype
    for d in range(s.job.ndim - 1, -1, -1):
        lies = lies and (s.job.shape[d] == 1 or o.strides[d] == step)
        step *= s.job.shape[d]
    if lies:
        return None
    return o.dtype, *[o.strides[d] for d in range(s.job.ndim) if s.job.shape[d] != 1]


cdef Py_ssize_t alike(Lives lives, Py_ssize_t first) except -1:
    """The end of the steps from ``first`` on that can run element by element: what one of them writes, they all see in
    the same order."""
    cdef Py_ssize_t i
    cdef int k, d
    cdef Step *s
    cdef Step *head = lives.tape.step[first]
    cdef const mgx_launch *shape = NULL
    cdef dict seen = {}
    cdef set written = set()
    for i in range(first, min(lives.tape.count, first + MGX_MAXOPS)):
        s = lives.tape.step[i]
        if s.loop == NULL or s.dtype != head.dtype or s.n[0] != head.n[0] or s.n[0] <= FEW:
            return i
        if s.job != NULL:
            if shape == NULL:
                shape = s.job
            if shape.ndim != s.job.ndim:
                return i
            for d in range(shape.ndim):
                if shape.shape[d] != s.job.shape[d]:
                    return i
        for k in range(s.slots):
            if s.storage[k] != NULL:
                where = (<size_t> s.p[k], mapping(s, k))
                if seen.setdefault(<size_t> s.storage[k], where) != where:
                    if s.written >> k & 1 or <size_t> s.storage[k] in written:
                        return i
                    seen[<size_t> s.storage[k]] = ()        # read in several ways: nobody may write it
                if s.written >> k & 1:
                    written.add(<size_t> s.storage[k])
    return min(lives.tape.count, first + MGX_MAXOPS)


cdef tuple joined(Lives lives, Py_ssize_t first, Py_ssize_t stop):
    """Of the launch that does what the steps from ``first`` to ``stop`` do: (the places of each operation, operands
    that are read, and written, the number of places); or (how far one launch can go,). An operand is told by the
    (step, slot) where it is met first."""
    cdef Py_ssize_t i
    cdef int k, tiles = 0
    cdef Step *s
    cdef Life *life
    cdef dict ins = {}, outs = {}                   # {what: (place, step, slot)}
    cdef dict current = {}                          # {storage: the place of its last value}
    cdef list operations = [], spare = []
    for i in range(first, stop):
        s = lives.tape.step[i]
        places = []
        for k in range(s.slots):
            what = <size_t> s.p[k], mapping(s, k)
            if s.storage[k] == NULL:
                what = "number", repr(s.job.operand[k].number)
                place = places[0] if s.job.operand[k].absent else \
                    ins.setdefault(what, (("in", len(ins)), i, k))[0]
            elif not s.written >> k & 1:
                place = current.get(<size_t> s.storage[k]) or ins.setdefault(what, (("in", len(ins)), i, k))[0]
            elif own(lives.of(s.storage[k]), first, stop):
                place = current.get(<size_t> s.storage[k]) or (spare.pop() if spare else ("tile", tiles))
                tiles = max(tiles, place[1] + 1)
                current[<size_t> s.storage[k]] = place
            else:
                place = current[<size_t> s.storage[k]] = outs.setdefault(what, (("out", len(outs)), i, k))[0]
            places.append(place)
        for k in range(s.slots):                    # what is not read again leaves its tile to others
            if s.storage[k] != NULL and <size_t> s.storage[k] in current:
                life = lives.of(s.storage[k])
                if own(life, first, stop) and life.last == i:
                    spare.append(current.pop(<size_t> s.storage[k]))
        if len(ins) + len(outs) > MGX_MAXOPERANDS or len(ins) + len(outs) + tiles > MGX_MAXPLACES:
            return (i,)
        operations.append(places)
    base = {"in": 0, "out": len(ins), "tile": len(ins) + len(outs)}
    operations = [[base[kind] + n for kind, n in places] for places in operations]
    return operations, list(ins.values()), list(outs.values()), base["tile"] + tiles


cdef bint own(const Life *life, Py_ssize_t first, Py_ssize_t stop) noexcept:
    """Does a storage live between two steps alone?"""
    return life.fresh and life.first >= first and life.last < stop


cdef Step *written_out(Lives lives, Py_ssize_t first, list operations, list ins, list outs, int places) except NULL:
    """The step of all those operations."""
    cdef Step *s
    cdef Step *whole = <Step *> malloc(sizeof(Step))
    cdef mgx_launch *job = <mgx_launch *> malloc(sizeof(mgx_launch))
    cdef mgx_launch *shape = NULL
    cdef mgx_op *op
    cdef Py_ssize_t i, step
    cdef int k, slot, d
    if whole == NULL or job == NULL:
        free(whole)
        free(job)
        raise MemoryError("compile: no memory for another launch")
    for i in range(first, first + len(operations)):
        if lives.tape.step[i].job != NULL:
            shape = lives.tape.step[i].job
    s = lives.tape.step[first]
    begin(whole, run_tiles, b"fused", s.dtype)
    whole.job, whole.n[0], whole.slots = job, s.n[0], len(ins) + len(outs)
    job.dtype, job.nin, job.nout, job.count, job.places = s.dtype, len(ins), len(outs), len(operations), places
    job.streak = kernels.streak[s.dtype]
    job.ndim, job.shape[0] = 1, s.n[0]
    if shape != NULL:
        job.ndim, job.shape = shape.ndim, shape.shape
    for k, (_, i, slot) in enumerate(ins + outs):
        s = lives.tape.step[i]
        whole.storage[k], whole.p[k] = s.storage[slot], s.p[slot]
        whole.written |= (k >= job.nin) << k
        if s.job != NULL:
            job.operand[k] = s.job.operand[slot]
        else:
            job.operand[k].dtype, job.operand[k].absent, step = s.dtype, False, itemsize[s.dtype]
            for d in range(job.ndim - 1, -1, -1):
                job.operand[k].strides[d] = step
                step *= job.shape[d]
        if s.storage[slot] == NULL:
            whole.p[k] = <char *> &job.operand[k].number
    for i, arguments in enumerate(operations):
        s, op = lives.tape.step[first + i], &job.op[i]
        op.loop, op.name, op.streak, op.result = s.loop, s.name, 0, arguments[len(arguments) - 1]
        for k in range(MGX_MAXARGS):
            op.arg[k] = arguments[k] if k < len(arguments) else 0
    i = 0
    while i < job.count:
        i += max(1, mark_streak(lives, first, job, i))
    return whole


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
