"""A function of Values as a list of steps: traced once, then run over many samples without building a graph.

The graph that the function makes is the list. Lowering walks it once: what depends on a sample becomes a row of
lanes, everything else stays one number. Sums of products become one step each, ``b + w0*x0 + w1*x1`` as much as
``dot``, with products and additions in the order of the program, so that replayed numbers are the eager ones to the
last bit. Steps over rows are sorted by depth, which brings together the sums of a layer. ``csrc/kernels.h`` says what
a step is; ``csrc/replay.inl`` runs them.
"""
from cpython cimport array
from cpython.buffer cimport PyBUF_FULL, PyBUF_FULL_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.sequence cimport PySequence_Fast_ITEMS
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strcmp

from microgradx._core.graph cimport Order, Vertex, parents, set_grad_enabled, topological
from microgradx._core.kernels cimport *
from microgradx._core.memory cimport aligned_alloc, aligned_free
from microgradx._core.value cimport (Value, is_recording, leaf, local_derivatives,
                                     one_trace_at_a_time, start_tracing, stop_tracing, tracing, watch)

from itertools import groupby
from operator import itemgetter

from microgradx._core.trees import unflatten
from microgradx._core.value import scalar_sum
from microgradx.errors import CaptureError, DTypeError

cdef Value sample = leaf(0)                         # where its numbers are: read and written without a reference to it
cdef Py_ssize_t Y = <char *> &sample.y - <char *> <PyObject *> sample
cdef Py_ssize_t G = <char *> &sample.g - <char *> <PyObject *> sample
cdef enum: ONE = 0, MINUS_ONE = 1                   # the slots of these numbers


cdef int refuse_in_trace(str purpose) except -1:
    if is_recording():
        return watch("the numbers")
    if tracing():
        raise CaptureError(f"{purpose}: called while another function is traced; call the plain function there")
    return 0


cdef inline int operands(const mgx_scalar_op *s) noexcept nogil:
    return 2 * s.count if s.op < 0 else facts[s.op].arity


cdef class Steps:
    """A program while it grows, node by node, parents first."""

    cdef list numbers                               # what stands at each slot >= 0 before anything has run
    cdef array.array flat, wide, operand            # steps between numbers; steps that write rows; their operands
    cdef int rows
    cdef Py_ssize_t numbered                        # how many operands come before these
    cdef list level                                 # by row: its depth, in steps
    cdef list waiting                               # steps that write rows: (level, op, what runs share, count, y, ...)
    cdef list slot, pending                         # by node; pending: the factors of a sum that is not a step yet
    cdef bytearray is_row, shared                   # by node; shared: used more than once

    def __cinit__(self, Py_ssize_t nodes):
        self.numbers = [1.0, -1.0]
        self.flat, self.wide, self.operand = array.array("i"), array.array("i"), array.array("i")
        self.level, self.waiting = [], []
        self.slot, self.pending = [None] * nodes, [None] * nodes
        self.is_row, self.shared = bytearray(nodes), bytearray(nodes)

    cdef int constant(self, double x):
        if x == 1 or x == -1:
            return ONE if x == 1 else MINUS_ONE
        self.numbers.append(x)
        return len(self.numbers) - 1

    cdef int emit(self, bint wide, int op, list operands, int count, int room):
        """A new step whose result, and what follows it, takes ``room`` slots; returns the slot."""
        if not wide:
            self.numbers.extend([0.0] * room)
            self.flat.extend((op, len(self.numbers) - room, len(self.operand), count))
            self.operand.extend(operands)
            return len(self.numbers) - room
        y, level = ~len(self.level), 1 + max([self.level[~slot] for slot in operands if slot < 0])
        shared = operands[::2] if op == MGX_TERMS and min(operands[1::2]) >= 0 else []
        self.waiting.append((level, op, shared, y, operands, count, room))
        self.level.extend([level] * room)
        return y

    cdef int write(self, int op, int room, list operands, int count):
        """A step, at last, that writes rows; returns the first of them."""
        cdef int row = self.rows
        self.wide.extend((op, ~row, len(self.operand), count))
        self.operand.extend(operands)
        self.rows += room
        return row

    cdef list arrange(self, int inputs):
        """Write the steps that write rows, level by level, so that those of a layer form a run; where each row went,
        after the first ones, those of the inputs."""
        cdef list to = list(range(len(self.level)))
        cdef dict filled = {}                       # numbers as rows, for runs
        cdef int row
        self.rows, self.numbered = inputs, len(self.operand)
        self.waiting.sort(key=itemgetter(0, 1, 2))
        for (_, op, shared), run in groupby(self.waiting, itemgetter(0, 1, 2)):
            run = list(run)
            layer = shared and len(run) > 1
            for slot in shared if layer else ():
                if slot >= 0 and slot not in filled:
                    filled[slot] = ~self.write(MGX_clone, 1, [slot], 0)
            for _, _, _, y, operands, count, room in run:
                operands = [slot if slot >= 0 else ~to[~slot] for slot in operands]
                if layer:
                    operands[::2] = [filled.get(slot, slot) for slot in operands[::2]]
                row = self.write(-len(run) if layer else op, room, operands, count)
                to[~y:~y + room] = range(row, row + room)
        return to

    cdef int slot_of(self, int node):
        if self.pending[node] is not None:
            factors, self.pending[node] = self.pending[node], None
            self.slot[node] = self.emit(self.is_row[node], MGX_TERMS, factors, len(factors) // 2, 1)
        return self.slot[node]

    cdef int operand_of(self, int node, double d):
        return self.constant(d) if node < 0 else self.slot_of(node)

    cdef list added(self, list factors, int node, double d, int coefficient, bint is_row):
        """``factors`` and one more term: the terms of a sum that is used only here and may be added term by term."""
        if node >= 0 and coefficient == ONE:
            inner = self.pending[node]
            if inner is not None and not self.shared[node] and self.is_row[node] == is_row and (
                    not factors or len(inner) == 2):
                self.pending[node] = None
                if not factors:
                    return inner
                factors += inner
                return factors
        factors += sorted((self.operand_of(node, d), coefficient))
        return factors

    cdef int add(self, int node, Value value, const int32_t *parent) except -1:
        """Lower one node, whose parents have these numbers."""
        cdef Vertex *v = &value.v
        cdef double *d = local_derivatives(value)
        cdef int op = v.op, coefficient = ONE, a, b
        cdef bint is_row = False
        cdef int32_t k
        cdef list factors = []
        for k in range(v.count):
            is_row |= parent[k] >= 0 and self.is_row[parent[k]]
        self.is_row[node] = is_row
        if op == MGX_DOT or op == MGX_mul:
            for k in range(0, v.count, 2):
                a, b = self.operand_of(parent[k], d[k]), self.operand_of(parent[k + 1], d[k + 1])
                factors += sorted((a, b))           # rows first, then 1, which biases are multiplied by
            self.pending[node] = factors
        elif op in (MGX_add, MGX_sub, MGX_neg, MGX_clone, MGX_SUM, MGX_MEAN):
            if op == MGX_MEAN:
                coefficient = self.constant(1.0 / v.count)
            for k in range(v.count):
                if op == MGX_neg or op == MGX_sub and k == 1:
                    coefficient = MINUS_ONE
                factors = self.added(factors, parent[k], d[k], coefficient, is_row)
            self.pending[node] = factors
        else:
            factors = [self.operand_of(parent[k], d[k]) for k in range(v.count)]
            self.slot[node] = self.emit(is_row, op, factors, 0, 1 + (facts[op].stores if is_row else v.count))
        return 0


cdef class Tape:
    """A traced function. ``parameters`` are the Values that it uses besides its arguments, ``outputs`` the slots of its
    results."""

    cdef readonly tuple parameters                  # immutable, as their numbers are read through pointers
    cdef readonly object many                       # whether the function returned a tuple or a list
    cdef readonly tuple outputs
    cdef str purpose
    cdef array.array flat, wide, operand, inputs, slots, numbers
    cdef list mode                                  # of operands: for gradients of parameters, and of inputs too
    cdef list written                               # the same, by slot: whether a gradient gets there
    cdef int rows
    cdef Py_ssize_t numbered                        # operands before those of steps that write rows
    cdef double *room                               # memory for one run; NULL while a run has it
    cdef Py_ssize_t lanes                           # of its rows

    def __cinit__(self, str purpose not None, fn, structure, by_row):
        """Trace ``fn`` with Values as the leaves of its arguments, whose ``structure`` is that of a tuple; ``by_row``
        says of each leaf whether it varies from sample to sample."""
        cdef list leaves, kept = [], parameters = []
        cdef Value value
        cdef Py_ssize_t k
        refuse_in_trace(purpose)
        self.purpose, self.parameters, self.outputs, self.mode, self.written = purpose, (), (), [], []
        self.flat = self.wide = self.operand = self.inputs = self.slots = array.array("i")
        self.numbers = array.array("d")
        leaves = self.trace(fn, structure, by_row)
        for k in range(len(leaves)):
            value = leaves[k]
            if (<PyObject *> value).ob_refcnt > 2:          # more than ours: else nobody can change it, a constant
                parameters.append(value)
                kept.append(self.slots[k])
        self.slots, self.parameters = array.array("i", kept), tuple(parameters)
        self.analyse()

    def __dealloc__(self):
        aligned_free(self.room)

    # ----- from a function to steps ----------------------------------------------------------------------------

    cdef list trace(self, fn, structure, by_row):
        """The leaves of the graph that are not inputs; their slots go to ``slots``."""
        cdef bint recorded
        values = [leaf(float("nan")) for _ in by_row]
        with one_trace_at_a_time:
            recorded = set_grad_enabled(True)
            before = start_tracing(self.purpose, None)
            try:
                out = fn(*unflatten(structure, iter(values)))
            finally:
                refusal = stop_tracing(before)
                set_grad_enabled(recorded)
                if refusal is not None:             # whatever the function has made of it
                    raise refusal
        self.many = isinstance(out, (tuple, list))
        outs = list(out) if self.many else [out]
        for k, o in enumerate(outs):
            if not isinstance(o, Value):
                if isinstance(o, bool) or not isinstance(o, (int, float)):
                    raise DTypeError(f"{self.purpose}: the function returns Values, not {type(o).__name__}")
                outs[k] = leaf(o)
        if not outs:
            raise DTypeError(f"{self.purpose}: the function returned no Value")
        recorded = set_grad_enabled(True)
        try:
            return self.lower(scalar_sum(outs), values, by_row)             # one root for all outputs
        finally:
            set_grad_enabled(recorded)

    cdef list lower(self, Value root, list values, by_row):
        cdef Order order
        cdef Vertex *v
        cdef PyObject **parent
        cdef Py_ssize_t i, edges = 0
        cdef int32_t k
        cdef int32_t *edge = NULL                   # the numbers of all parents, node by node; -1: no node
        cdef Steps steps
        cdef Value value
        cdef list leaves = [], slots = []
        topological(<PyObject *> root, <char *> &root.v - <char *> <PyObject *> root, &order, NULL)
        try:
            # an allocation may start another walk over the same nodes, so the slots are read now
            for i in range(order.count):
                edges += (<Value> order.item[i]).v.count
            edge = <int32_t *> malloc((edges + 1) * sizeof(int32_t))
            if edge == NULL:
                raise MemoryError(f"{self.purpose}: no memory for a graph of {order.count} nodes")
            edges = 0
            for i in range(order.count):
                v = &(<Value> order.item[i]).v
                parent = parents(v)
                for k in range(v.count):
                    edge[edges] = <int32_t> (<Value> parent[k]).v.slot if parent[k] != NULL else -1
                    edges += 1
            steps = Steps(order.count)
            seen = bytearray(order.count)
            for i in range(edges):
                node = edge[i]
                if node >= 0:
                    steps.shared[node], seen[node] = seen[node], True
            given = {}
            for x, varies in zip(values, by_row):
                if varies:
                    given[x] = ~len(steps.level)
                    steps.level.append(0)
                else:
                    given[x] = len(steps.numbers)
                    steps.numbers.append(0.0)
            edges = 0
            for i in range(order.count - 1):
                value = <Value> order.item[i]
                if value.v.op == MGX_MADE and value.v.count:
                    raise CaptureError(f"{self.purpose}: a Value made with explicit local derivatives cannot be "
                                       "replayed, for what it computes is not known; write it with operations")
                if value.v.count:
                    steps.add(i, value, edge + edges)
                    edges += value.v.count
                elif value in given:
                    steps.slot[i], steps.is_row[i] = given[value], given[value] < 0
                else:
                    steps.slot[i] = len(steps.numbers)
                    steps.numbers.append(value.y)
                    leaves.append(value)
                    slots.append(steps.slot[i])
            outputs = [steps.slot_of(edge[edges + k]) for k in range(root.v.count)]
            to = steps.arrange(sum(by_row))
            self.outputs = tuple([slot if slot >= 0 else ~to[~slot] for slot in outputs])
        finally:
            free(order.item)
            free(edge)
        self.flat, self.wide, self.operand, self.rows = steps.flat, steps.wide, steps.operand, steps.rows
        self.inputs, self.numbered = array.array("i", [given[x] for x in values]), steps.numbered
        self.slots, self.numbers = array.array("i", slots), array.array("d", steps.numbers)
        return leaves

    cdef int analyse(self) except -1:
        """Which operands want a gradient, and whether it is the first to be written where it goes."""
        cdef mgx_scalar_op *flat = <mgx_scalar_op *> self.flat.data.as_ints
        cdef mgx_scalar_op *wide = <mgx_scalar_op *> self.wide.data.as_ints
        cdef int *operand = self.operand.data.as_ints
        cdef Py_ssize_t flats = len(self.flat) // 4, wides = len(self.wide) // 4, i
        cdef mgx_scalar_op *s
        cdef array.array actives, writtens, modes
        cdef uint8_t *active
        cdef uint8_t *written
        cdef uint8_t *mode
        cdef int variant, k, slot
        self.mode, self.written = [], []
        for variant in range(2):
            actives = array.array("B", bytes(self.rows + len(self.numbers)))
            writtens = array.array("B", bytes(self.rows + len(self.numbers)))
            modes = array.array("B", bytes(len(self.operand)))
            self.mode.append(modes)
            self.written.append(writtens)
            active, mode = actives.data.as_uchars + self.rows, modes.data.as_uchars
            written = writtens.data.as_uchars + self.rows                           # so that a slot is its index
            for slot in self.slots:
                active[slot] = True
            if variant:
                for slot in self.inputs:
                    active[slot] = True
            for i in range(flats + wides):
                s = &flat[i] if i < flats else &wide[i - flats]
                if s.op >= 0:
                    s.count = 0
                for k in range(operands(s)):
                    if active[operand[s.first + k]] and not (s.op >= 0 and facts[s.op].compares):
                        active[s.y] = True
                        if s.op >= 0:
                            s.count |= 1 << k
            written[self.outputs[0]] = True
            for i in range(wides - 1, -1, -1):
                s = &wide[i]
                for k in range(operands(s)):
                    slot = operand[s.first + k]
                    if written[s.y] and active[slot] and not (s.op >= 0 and facts[s.op].compares):
                        mode[s.first + k] = MGX_ADDS if slot >= 0 or written[slot] else MGX_SETS
                        written[slot] = True
        return 0

    # ----- running ---------------------------------------------------------------------------------------------

    cdef int open(self, mgx_scalar_program *t, Py_ssize_t lanes) except -1:
        """Memory for one run with rows of so many lanes, constants and parameters in place."""
        cdef Py_ssize_t numbers = (len(self.numbers) + 7) & ~7, operands = (len(self.operand) + 7) & ~7, k
        cdef int *slot = self.slots.data.as_ints
        cdef char **parameter = <char **> PySequence_Fast_ITEMS(self.parameters)
        refuse_in_trace(self.purpose)
        if not self.outputs:
            raise CaptureError(f"{self.purpose}: this function is not traced yet")
        t.scalar, self.room = self.room, NULL
        if t.scalar != NULL and self.lanes != lanes:
            aligned_free(t.scalar)
            t.scalar = NULL
        if t.scalar == NULL:
            k = 2 * numbers + operands + (2 * self.rows + 4) * lanes
            t.scalar = <double *> aligned_alloc(k * sizeof(double), 64)
            if t.scalar == NULL:
                raise MemoryError(f"{self.purpose}: no memory for {self.rows} rows and {len(self.numbers)} numbers")
            memset(t.scalar, 0, k * sizeof(double))     # steps of a run read each other's gradients, written or not
            memcpy(t.scalar, self.numbers.data.as_doubles, len(self.numbers) * sizeof(double))
        t.lanes, t.no_nan = lanes, False
        t.dscalar = t.scalar + numbers
        t.number = t.dscalar + numbers
        t.row = t.number + operands
        t.drow = t.row + self.rows * lanes
        t.scratch = t.drow + self.rows * lanes
        t.operand, t.mode = <int32_t *> self.operand.data.as_ints, NULL
        for k in range(len(self.slots)):
            t.scalar[slot[k]] = (<double *> (parameter[k] + Y))[0]
        return 0

    cdef void close(self, mgx_scalar_program *t) noexcept:
        t.scalar, self.room, self.lanes = self.room, t.scalar, t.lanes
        aligned_free(t.scalar)                      # that of a run that overlapped this one

    cdef int check_columns(self, str what, Columns given, Py_ssize_t n, Py_ssize_t columns) except -1:
        cdef Py_ssize_t k
        if given.columns != columns:
            raise DTypeError(f"{self.purpose}: {what} for each of {columns}, not {given.columns}")
        for k in range(columns):
            if n < 0 or given.column[k].rows < (n if given.column[k].step else 1):
                raise DTypeError(f"{self.purpose}: {what} of {given.column[k].rows} rows for {n} samples")
        return 0

    def sweep(self, given, Py_ssize_t n, list outs, bint backward=False, bint mean=False,
              dparameters=None, list dgiven=None):
        """Run n samples: arrays of float64 in, an array (n,) for each output out.

        ``backward`` adds the gradient of the first output's sum, or mean, over the samples to the ``grad`` of the
        parameters; or writes it to ``dparameters``, an array, and to the arrays ``dgiven``, shaped as ``given``.
        """
        cdef mgx_scalar_program t
        cdef mgx_scalar_op *flat = <mgx_scalar_op *> self.flat.data.as_ints
        cdef mgx_scalar_op *wide = <mgx_scalar_op *> self.wide.data.as_ints
        cdef Py_ssize_t flats = len(self.flat) // 4, wides = len(self.wide) // 4, numbers = len(self.numbers)
        cdef Py_ssize_t operands = len(self.operand)
        cdef Py_ssize_t tiles = (n + MGX_LANES - 1) // MGX_LANES, lanes = (n + tiles - 1) // tiles if n > 0 else 0
        cdef Py_ssize_t tile, first, m, i, k, unchecked = 0
        cdef Py_ssize_t inputs = len(self.inputs), outputs = len(self.outputs), parameters = len(self.parameters)
        cdef int *input = self.inputs.data.as_ints
        cdef array.array places_out = array.array("i", self.outputs)
        cdef int *output = places_out.data.as_ints
        cdef int *slot = self.slots.data.as_ints
        cdef char **parameter = <char **> PySequence_Fast_ITEMS(self.parameters)
        cdef bint to_inputs = dgiven is not None, finite
        cdef uint8_t *written
        cdef double *row
        cdef double weight = 1.0 / n if mean and n else 1.0
        cdef Columns x = Columns(given, False), y = Columns(outs, True), dx = Columns(dgiven or (), True), dw
        self.check_columns("an argument", x, n, inputs)
        self.check_columns("a result", y, n, outputs)
        if to_inputs:
            self.check_columns("a gradient", dx, n, inputs)
            dw = Columns(() if dparameters is None else (dparameters,), True)
            if dw.columns != 1 or dw.column[0].rows != parameters:
                raise DTypeError(f"{self.purpose}: the gradients of {parameters} parameters need so many numbers")
        self.open(&t, (lanes + MGX_PARTS - 1) // MGX_PARTS * MGX_PARTS)
        try:
            t.mode = (<array.array> self.mode[to_inputs]).data.as_uchars
            written = (<array.array> self.written[to_inputs]).data.as_uchars + self.rows
            with nogil:
                for k in range(inputs):
                    if input[k] >= 0:
                        t.scalar[input[k]] = at(&x.column[k], 0)[0]
                kernels.replay(&t, flats, flat)
                for k in range(self.numbered, operands):
                    t.number[k] = t.scalar[max(t.operand[k], 0)]
                while True:                                                 # once more with care, if need be
                    finite = True
                    memset(t.dscalar, 0, numbers * sizeof(double))
                    for tile in range(tiles):
                        first = tile * lanes
                        m = min(lanes, n - first)
                        for k in range(inputs):
                            row = t.row + <Py_ssize_t> ~input[k] * t.lanes
                            for i in range(m if input[k] < 0 else 0):
                                row[i] = at(&x.column[k], first + i)[0]
                            for i in range(m, t.lanes if input[k] < 0 else 0):          # no sample: the last again
                                row[i] = row[m - 1]
                        kernels.replay_rows(&t, wides, wide)
                        unchecked += wides + 1
                        if unchecked > 1 << 14:
                            unchecked = 0
                            with gil:
                                PyErr_CheckSignals()
                        for k in range(outputs):
                            row = t.row + <Py_ssize_t> ~output[k] * t.lanes
                            for i in range(m):
                                at(&y.column[k], first + i)[0] = row[i] if output[k] < 0 else t.scalar[output[k]]
                        if not backward:
                            continue
                        row = t.drow + <Py_ssize_t> ~output[0] * t.lanes
                        for i in range(t.lanes if output[0] < 0 else 0):
                            row[i] = weight if i < m else 0
                        kernels.replay_rows_vjp(&t, wides, wide)
                        for k in range(inputs if to_inputs else 0):
                            row = t.drow + <Py_ssize_t> ~input[k] * t.lanes
                            if input[k] < 0 and written[input[k]]:
                                finite &= kernels.all_finite[MGX_F64](m, <char *> row)
                            for i in range(m if input[k] < 0 else 0):
                                at(&dx.column[k], first + i)[0] = row[i] if written[input[k]] else 0
                    if not backward or t.no_nan or finite and kernels.all_finite[MGX_F64](numbers, <char *> t.dscalar):
                        break
                    t.no_nan = True
                if backward:
                    if output[0] >= 0:
                        t.dscalar[output[0]] += 1 if mean and n else n
                    kernels.replay_vjp(&t, flats, flat)
                    for k in range(inputs if to_inputs else 0):
                        if input[k] >= 0:
                            at(&dx.column[k], 0)[0] = t.dscalar[input[k]]
                    for k in range(0 if to_inputs else parameters):
                        (<double *> (parameter[k] + G))[0] += t.dscalar[slot[k]]
                    for k in range(parameters if to_inputs else 0):
                        at(&dw.column[0], k)[0] = t.dscalar[slot[k]]
        finally:
            self.close(&t)


cdef struct Column:
    char *start
    Py_ssize_t step                                 # bytes from one sample to the next
    Py_ssize_t rows


cdef inline double *at(Column *column, Py_ssize_t i) noexcept nogil:
    return <double *> (column.start + i * column.step)


cdef class Columns:
    """Where the numbers of arrays of float64 are: a column for a number, for (n,), for each column of (n, k)."""

    cdef Column *column
    cdef Py_buffer *held
    cdef Py_ssize_t count, columns

    def __cinit__(self, several, bint writable):
        cdef Py_ssize_t columns = 0, i, j
        cdef Py_buffer *held
        cdef tuple arrays = tuple(several)
        self.held = <Py_buffer *> malloc((len(arrays) + 1) * sizeof(Py_buffer))
        if self.held == NULL:
            raise MemoryError(f"no memory for {len(arrays)} arrays")
        for a in arrays:
            held = &self.held[self.count]
            PyObject_GetBuffer(a, held, PyBUF_FULL if writable else PyBUF_FULL_RO)
            self.count += 1
            if held.ndim > 2 or held.suboffsets != NULL or held.format == NULL or held.format[0] == 0 or strcmp(
                    held.format + (held.format[0] in b"@=^"), b"d") != 0:
                raise DTypeError("arrays of float64 with at most two axes are wanted")
            columns += held.shape[1] if held.ndim == 2 else 1
        self.column = <Column *> malloc((columns + 1) * sizeof(Column))
        if self.column == NULL:
            raise MemoryError(f"no memory for {columns} columns")
        columns = 0
        for i in range(self.count):
            held = &self.held[i]
            for j in range(held.shape[1] if held.ndim == 2 else 1):
                self.column[columns].start = <char *> held.buf + (j * held.strides[1] if held.ndim == 2 else 0)
                self.column[columns].step = held.strides[0] if held.ndim else 0
                self.column[columns].rows = held.shape[0] if held.ndim else 1
                columns += 1
        self.columns = columns

    def __dealloc__(self):
        cdef Py_ssize_t k
        for k in range(self.count):
            PyBuffer_Release(&self.held[k])
        free(self.held)
        free(self.column)
