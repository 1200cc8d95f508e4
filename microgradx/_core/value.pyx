"""The scalar node.

A ``Value`` is outside Python's garbage collector: its parents are fixed when it is made, so no cycle can
form, and a node is freed the moment nobody holds it. It stores its local derivatives when it is made; the
backward pass multiplies and adds.
"""
cimport cython
from cpython cimport array
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check, PyFloat_AsDouble
from cpython.long cimport PyLong_Check, PyLong_AsDouble
from cpython.object cimport PyObject, Py_EQ, Py_NE
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from libc.stdint cimport int32_t

from microgradx._core.graph cimport (Order, PyErr_NoMemory, PyObject_Init, Type, Vertex, drop_parents,
                                     grad_enabled, parents, set_parents, topological)
from microgradx._core.kernels cimport *
from microgradx._core.memory cimport Pool, pool_free, pool_alloc
from microgradx._core cimport ops
from microgradx._core.ops cimport Differentiable

import threading

from numpy import generic

from microgradx.errors import CaptureError, DTypeError, GraphError, OptionError

cdef dict SYMBOLS = {MGX_DOT: "dot", MGX_SUM: "sum", MGX_MEAN: "mean", MGX_LEAF: "", MGX_MADE: "",
                     MGX_add: "+", MGX_sub: "-", MGX_mul: "*", MGX_div: "/", MGX_relu: "ReLU"}

cdef object FLOAT = float       # what calls itself one is one, too
cdef dict NOTES = {}            # by address, of the few nodes with `v.noted`: [name of the operation, label]


cdef double number(object o, int op) except? -1.5:
    """A real number as a double; anything else is refused by name."""
    if PyFloat_Check(o):
        return PyFloat_AS_DOUBLE(o)
    if PyLong_Check(o):
        return PyLong_AsDouble(o)
    if isinstance(o, generic) and o.dtype.kind in "fiub" or isinstance(o, FLOAT):
        return PyFloat_AsDouble(o)
    where = rows[op].name.decode() if op >= 0 else "Value"
    raise DTypeError(f"{where}: a Value goes with Values and real numbers, not with {type(o).__name__}"
                     + (f" {o!r}" if isinstance(o, str) else ""))


cdef list notes_of(Value self):
    self.v.noted = True
    return NOTES.setdefault(<size_t> <PyObject *> self, ["", ""])


# While a thread traces a function, a Value stands for numbers that are not known yet. While it records a call, Values
# have their numbers, and it is noted what was done with them.
cdef unsigned long tracer = 0
cdef str purpose = None
cdef object refusal = None      # what the trace has raised: the function may have caught it
cdef Recording recording = None
cdef object one_trace_at_a_time = threading.RLock()


cdef bint tracing() noexcept:
    """Whether this thread traces a function."""
    return tracer != 0 and tracer == <unsigned long> PyThread_get_thread_ident()


cdef tuple start_tracing(str operation, Recording into):
    """From now on, what would freeze a number raises in this thread, in the name of ``operation``; or, if there is a
    recording, it is noted there. Returns what `stop_tracing` wants."""
    global tracer, purpose, refusal, recording
    before = (tracer, purpose, refusal, recording)
    tracer, purpose = <unsigned long> PyThread_get_thread_ident(), operation
    refusal, recording = None, into
    ops.on_values = apply if into is None else record_apply
    return before


cdef object stop_tracing(tuple before):
    """The end of it; returns the error that it has raised, or None."""
    global tracer, purpose, refusal, recording
    raised = refusal
    tracer, purpose, refusal, recording = before
    ops.on_values = apply if recording is None else record_apply
    return raised


cdef bint is_recording() noexcept:
    """Whether this thread records a call."""
    return recording is not None and tracing()


cdef int watch(str what) except -1:
    global refusal
    if tracer and tracing():
        if recording is not None:
            recording.note(f"{what} of a Value was asked for")
            return 0
        refusal = CaptureError(f"{purpose}: {what} of a Value was asked for while the function is traced, where it "
                               "stands for numbers to come; compute with operations (x.relu(), mgx.where(x.gt(0), a, "
                               "b)), and read numbers before or after")
        raise refusal
    return 0


cdef class Recording:
    """What one call of a function did with Values."""

    def __cinit__(self):
        self.values, self.operands, self.reason = [], [], None
        self.ops, self.first = array.array("i"), array.array("i", [0])

    cdef int add(self, Value made, int op, tuple operands) except -1:
        """A Value was made by ``op``; the operands are as they were given."""
        cdef int end = <int> (len(self.operands) + len(operands))
        self.values.append(made)
        self.operands += operands
        array.extend_buffer(self.ops, <char *> &op, 1)
        array.extend_buffer(self.first, <char *> &end, 1)
        return 0

    cdef int note(self, str reason) except -1:
        """Why a replay cannot stand for the call; the first reason is kept."""
        if self.reason is None:
            self.reason = reason
        return 0


cdef class Moving:
    """A float among the arguments of a recorded call. ``given`` is the number; ``slot`` says where a replay has it."""


cdef object given_of(object o):
    return (<Moving> o).given if isinstance(o, Moving) else o


cdef enum: SIZE = 80                # of a Value, a constant so that its copy is five moves
cdef char pristine[SIZE]            # a Value as it is just after it was made, with one reference
cdef Pool pool
pool.size = SIZE


cdef PyObject *allocate(Type *type, Py_ssize_t items) noexcept:
    """The type's tp_alloc."""
    cdef void *block = pool_alloc(&pool)
    if block == NULL:
        return PyErr_NoMemory()
    memset(block, 0, SIZE)
    return PyObject_Init(<PyObject *> block, type)


cdef void deallocate(PyObject *o) noexcept:
    """The type's tp_dealloc."""
    cdef Vertex *v = &(<Value> o).v
    if v.count > 2:
        free(<void *> v.parent[1])
    if v.noted:
        del NOTES[<size_t> o]
    drop_parents(v)
    pool_free(&pool, o)


cdef inline Value new_value(double data, int op):
    """A new Value: a copy of a pristine one."""
    cdef PyObject *block = <PyObject *> pool_alloc(&pool)
    cdef Value self
    if block == NULL:
        raise MemoryError("no memory for a Value")
    memcpy(block, pristine, SIZE)
    self = <Value> block
    Py_DECREF(self)                                     # the variable holds the one reference
    self.y = data
    self.v.op = op
    return self


cdef int link_parents(Value self, Py_ssize_t count, PyObject **parent, const double *d) except -1:
    """Make ``self`` a result of ``count`` operands with the local derivatives ``d``."""
    cdef double *stored = self.d
    cdef Py_ssize_t i
    if count > 2:
        stored = <double *> malloc(count * sizeof(double))
        if stored == NULL:
            raise MemoryError(f"no memory for {count} operands")
    for i in range(count):
        stored[i] = d[i]
    try:
        set_parents(&self.v, count, parent)
    except:
        if count > 2:
            free(stored)
        raise
    if count > 2:
        self.v.parent[1] = <PyObject *> stored
    return 0


cdef Value leaf(double data):
    return new_value(data, MGX_LEAF)


@cython.final
cdef class Value(Differentiable):
    """A number that remembers how it was made: a node of a scalar graph, in double precision.

    ``Value(data, children=(), op='', label='')`` takes micrograd's arguments; a third argument that is a
    sequence of numbers holds the local derivatives for the children, as in microgpt.

    ``data`` and ``grad`` may be read and assigned; ``grad`` starts at 0. Arithmetic is IEEE's, not Python's:
    ``0.0 ** -1`` is inf and the logarithm of -1 is nan. Assigning ``data`` later changes no derivative that
    was already recorded. A number operand makes no node.

    >>> from microgradx import Value
    >>> a, b = Value(2.0), Value(-3.0)
    >>> y = (a * b + 1).tanh()
    >>> y.backward()
    >>> round(b.grad, 9)
    0.000363166
    """

    __array_ufunc__ = None              # with a NumPy array: TypeError, never an array of objects

    def __cinit__(self, data, _children=(), _op="", label="", *, children=None, local_grads=None):
        self.v.op = MGX_LEAF
        if tracer and is_recording():
            recording.add(self, MGX_LEAF, (data,))
            if not isinstance(_op, str) or _children or _op or label or children or local_grads:
                recording.note("a Value was made with explicit children, derivatives or a label")
            data = given_of(data)
        if isinstance(data, Value):
            data = data.data
        self.y = number(data, -1)
        try:
            children = tuple(_children if children is None else children)
            derivatives = tuple(local_grads) if local_grads is not None else () if isinstance(_op, str) else tuple(_op)
        except TypeError as error:
            raise DTypeError(f"Value: children and local derivatives are tuples: {error}") from None
        if children:
            _construct(self, children, derivatives)
        if isinstance(_op, str) and _op:
            notes_of(self)[0] = _op
            self.v.op = MGX_MADE
        if label:
            self.label = label

    def __init__(self, data, _children=(), _op="", label="", *, children=None, local_grads=None):
        # Nobody sees a Value before it has its links, which it keeps. So this is for explicit calls: see below.
        raise GraphError("Value: already made")

    @property
    def data(self):
        """The number."""
        watch("data")
        return self.y

    @data.setter
    def data(self, number):
        watch("a new data")
        self.y = number

    @property
    def grad(self):
        """The derivative of what ``backward`` was called on with respect to this; 0 at first."""
        watch("grad")
        return self.g

    @grad.setter
    def grad(self, number):
        watch("a new grad")
        self.g = number

    # ----- the graph -----------------------------------------------------------------------------------------

    def backward(self):
        """Add d self / d leaf to the ``grad`` of every leaf; set ``grad`` of the nodes between.

        The chain rule from here to the leaves, in one pass without recursion: O(nodes). ``self.grad`` becomes
        1. Calling it twice doubles what the leaves hold, never more.

        >>> from microgradx import Value
        >>> x = Value(3.0)
        >>> y = x * x * x
        >>> y.backward(); y.backward()
        >>> x.grad
        54.0
        """
        cdef Order order
        cdef Vertex *v
        cdef PyObject **parent
        cdef double *d
        cdef double g
        cdef Py_ssize_t i
        cdef int32_t k
        watch("backward")
        topological(<PyObject *> self, <char *> &self.v - <char *> <PyObject *> self, &order, zero_gradient)
        try:
            self.g = 1
            for i in range(order.count - 1, -1, -1):
                if i & 0xFFFF == 0xFFFF:
                    PyErr_CheckSignals()
                v = &(<Value> order.item[i]).v
                g = (<Value> order.item[i]).g
                if g == 0 or v.count == 0:                          # the row `mul_no_nan`: nothing in, nothing out
                    continue
                parent, d = parents(v), local_derivatives(<Value> order.item[i])
                if v.op == MGX_REPLAYED:
                    replayed_backward(<Replayed *> d, parent, g)
                    continue
                for k in range(v.count):
                    if parent[k] != NULL:
                        (<Value> parent[k]).g += mgx_times(d[k], g)
        finally:
            free(order.item)

    @property
    def _prev(self):
        """The operands of this node, in order; an operand that was a number becomes a ``Value``."""
        cdef PyObject **parent = parents(&self.v)
        cdef int32_t k
        watch("_prev")
        if self.v.op == MGX_REPLAYED:
            return tuple([<object> parent[k] for k in range(self.v.count) if parent[k] != NULL])
        return tuple([<object> parent[k] if parent[k] != NULL else leaf(local_derivatives(self)[k])
                      for k in range(self.v.count)])

    @property
    def _local_grads(self):
        """d self / d operand for each operand of ``_prev``; None for one that was a number."""
        cdef PyObject **parent = parents(&self.v)
        cdef int32_t k
        watch("_local_grads")
        if self.v.op == MGX_REPLAYED:
            return total_derivatives(<Replayed *> local_derivatives(self), parent)
        return tuple([None if parent[k] == NULL else 0.0 if mgx_is_none(local_derivatives(self)[k]) else
                      local_derivatives(self)[k] for k in range(self.v.count)])

    @property
    def _op(self):
        """What made this node: ``'+'``, ``'*'``, ``'**2'``, ``'ReLU'``, the name of an operation; ``''`` for a leaf."""
        if self.v.op == MGX_MADE or self.v.op == MGX_REPLAYED:
            return notes_of(self)[0] if self.v.noted else ""
        if self.v.op == MGX_pow and self.v.count == 2 and self.v.parent[1] == NULL:
            return f"**{self.d[1]:g}"
        return SYMBOLS[self.v.op] if self.v.op in SYMBOLS else rows[self.v.op].name.decode()

    @property
    def label(self):
        """A name for drawings; a str."""
        return notes_of(self)[1] if self.v.noted else ""

    @label.setter
    def label(self, text):
        if not isinstance(text, str):
            raise DTypeError(f"Value: label is a str, not {type(text).__name__}")
        watch("a new label")
        if text or self.v.noted:
            notes_of(self)[1] = text

    @property
    def _backward(self):
        raise GraphError("Value: _backward is not a closure here; derivatives are stored when a node is made. "
                         "To define one, give the local derivatives: Value(data, children, local_grads)")

    @_backward.setter
    def _backward(self, function):
        raise GraphError("Value: _backward cannot be assigned; give the local derivatives when the node is "
                         "made: Value(data, children, local_grads)")

    def item(self):
        """The number itself."""
        return self.data

    def __float__(self):
        watch("float()")
        return self.y

    def __bool__(self):
        watch("bool()")
        return True

    def __richcmp__(self, other, int how):
        if how != Py_EQ and how != Py_NE:
            watch("a comparison")
        return NotImplemented

    def __hash__(self):
        return <Py_hash_t> (<size_t> <PyObject *> self >> 4)

    def __repr__(self):
        if tracing():
            if recording is None:
                return "Value(traced)"
            watch("repr()")
        return f"Value(data={self.y}, grad={self.g})"

    def __reduce__(self):
        if self.v.count:
            raise DTypeError("Value: a node of a graph cannot be pickled or copied; only leaves can")
        return _restored, (self.data, self.grad, self.label)


if (<Type *> Value).tp_basicsize != SIZE:
    raise ImportError(f"a Value is {(<Type *> Value).tp_basicsize} bytes here, not {SIZE}")
(<Type *> Value).tp_alloc, (<Type *> Value).tp_dealloc = allocate, deallocate
(<Type *> Value).tp_init = NULL             # what a call of the class would run after __cinit__
ops.value_type, ops.on_values = Value, apply
cdef Value first = Value.__new__(Value, 0.0)
memcpy(pristine, <void *> first, SIZE)
(<PyObject *> pristine).ob_refcnt = 1


cdef object apply(int op, object a, object b, object c):
    """The row ``op`` over Values and numbers."""
    cdef double x[3]
    cdef double d[3]
    cdef PyObject *parent[3]
    cdef double y
    cdef int arity = facts[op].arity, needs = 0
    cdef Value out
    if type(a) is Value:
        x[0], needs = (<Value> a).y, 1
    else:
        x[0] = d[0] = number(a, op)
    if arity > 1:
        if type(b) is Value:
            x[1] = (<Value> b).y
            needs |= 2
        else:
            x[1] = d[1] = number(b, op)
    if arity > 2:
        if type(c) is Value:
            x[2] = (<Value> c).y
            needs |= 4
        else:
            x[2] = d[2] = number(c, op)
    if not grad_enabled():
        if recording is None:
            watch("a result without its graph (no_grad)")
        needs = 0
    kernels.rules[op](x, needs, &y, d)
    out = new_value(y, op)
    if arity > 2 and needs:
        parent[0] = <PyObject *> a if needs & 1 else NULL
        parent[1] = <PyObject *> b if needs & 2 else NULL
        parent[2] = <PyObject *> c if needs & 4 else NULL
        link_parents(out, 3, parent, d)
    elif needs:                                     # as link, for the nodes that come by the million
        out.v.count = arity
        out.d[0] = d[0]
        if needs & 1:
            Py_INCREF(a)
            out.v.parent[0] = <PyObject *> a
        if arity == 2:
            out.d[1] = d[1]
            if needs & 2:
                Py_INCREF(b)
                out.v.parent[1] = <PyObject *> b
    return out


cdef object record_apply(int op, object a, object b, object c):
    """`apply` while a call is recorded."""
    if recording is None or not tracing():
        return apply(op, a, b, c)
    out = apply(op, given_of(a), given_of(b), given_of(c))
    recording.add(out, op, (a, b, c)[:facts[op].arity])
    return out


cdef Value table_node(int op, double *x, PyObject **parent):
    """The row ``op`` of numbers, linked to those of its operands that have a parent: what `apply` makes."""
    cdef double d[3]
    cdef double y
    cdef int arity = facts[op].arity, needs = 0, k
    cdef Value out
    for k in range(arity):
        d[k] = x[k]
        needs |= (parent[k] != NULL) << k
    kernels.rules[op](x, needs, &y, d)
    out = new_value(y, op)
    if needs:
        link_parents(out, arity, parent, d)
    return out


cdef Value sum_node(int op, double *x, PyObject **parent, double *d, Py_ssize_t count):
    """The node of `weighted` over ``count`` operands (of products: factors); ``d`` is room for as many numbers."""
    cdef Py_ssize_t n = count // 2 if op == MGX_DOT else count, i
    cdef double total = -0.0 if n else 0.0, weight = 1.0 / n if op == MGX_MEAN and n else 1.0
    cdef bint linked = False
    cdef Value out
    for i in range(n):
        if op == MGX_DOT:
            total += x[2 * i] * x[2 * i + 1]
            d[2 * i] = x[2 * i + 1] if parent[2 * i] != NULL else x[2 * i]
            d[2 * i + 1] = x[2 * i] if parent[2 * i + 1] != NULL else x[2 * i + 1]
        else:
            total += weight * x[i]
            d[i] = weight if parent[i] != NULL else x[i]
    out = new_value(total, op)
    for i in range(count):
        linked |= parent[i] != NULL
    if linked:
        link_parents(out, count, parent, d)
    return out


cdef Replayed *new_replayed(const mgx_segment *t) except NULL:
    """Room for the numbers of a segment, which begin at ``y - t.numbers``, for their gradients and for derivatives: one
    block, which a node keeps."""
    cdef Py_ssize_t places = t.numbers + t.leaves + t.nodes
    cdef Replayed *replayed = <Replayed *> malloc(sizeof(Replayed) + (2 * places + t.stores) * sizeof(double))
    if replayed == NULL:
        raise MemoryError(f"compile: no memory for {t.nodes} nodes")
    replayed.segment, replayed.y = t, <double *> (replayed + 1) + t.numbers
    replayed.g = replayed.y + places
    replayed.derivative = replayed.g + t.leaves + t.nodes
    return replayed


cdef Value replayed_node(Replayed *replayed, PyObject **leaf, object owner):
    """A node for the last one of a segment, above the leaves. It owns ``replayed``, whose numbers and leaves are
    filled in, also if this raises; ``owner`` is kept, as it owns the segment."""
    cdef const mgx_segment *t = replayed.segment
    cdef Py_ssize_t i, m = max(t.leaves, 3)                 # more than two, so that what is stored has its place
    cdef PyObject **links = NULL
    cdef Value out
    try:
        kernels.segment(t, replayed.y, replayed.derivative)
        out = new_value(replayed.y[t.leaves + t.nodes - 1], MGX_REPLAYED)
        links = <PyObject **> malloc(m * sizeof(PyObject *))
        if links == NULL:
            raise MemoryError("compile: no memory for the operands")
        for i in range(m):
            links[i] = leaf[i] if i < t.leaves else NULL
        set_parents(&out.v, m, links)
    except:
        free(replayed)
        raise
    finally:
        free(links)
    out.v.parent[1] = <PyObject *> replayed
    notes_of(out)[0] = "compile"
    notes_of(out).append(owner)
    return out


cdef void replayed_backward(Replayed *replayed, PyObject **leaf, double gradient) noexcept:
    """The chain rule through a segment, node by node in the order in which a graph of them would be passed."""
    cdef const mgx_segment *t = replayed.segment
    cdef Py_ssize_t i
    for i in range(t.leaves):
        replayed.g[i] = (<Value> leaf[i]).g
    for i in range(t.numbers):
        replayed.g[~i] = 0
    memset(replayed.g + t.leaves, 0, t.nodes * sizeof(double))
    replayed.g[t.leaves + t.nodes - 1] = gradient
    kernels.segment_vjp(t, replayed.y, replayed.derivative, replayed.g)
    for i in range(t.leaves):
        (<Value> leaf[i]).g = replayed.g[i]


cdef tuple total_derivatives(Replayed *replayed, PyObject **leaf):
    """Of a segment's last node for each leaf."""
    cdef Py_ssize_t n = replayed.segment.leaves
    cdef list saved = [(<Value> leaf[i]).g for i in range(n)], found
    for i in range(n):
        (<Value> leaf[i]).g = 0
    replayed_backward(replayed, leaf, 1.0)
    found = [(<Value> leaf[i]).g for i in range(n)]
    for i in range(n):
        (<Value> leaf[i]).g = saved[i]
    return tuple(found)


cdef void zero_gradient(PyObject *node) noexcept:
    """The gradients of the nodes between root and leaves are 0 at the start of each pass."""
    (<Value> node).g = 0


def _restored(data, grad, label):
    result = Value(data, label=label)
    result.grad = grad
    return result


cdef int _construct(Value self, tuple children, object derivatives) except -1:
    """Links for ``Value(data, children, local_grads)``; without local_grads the children get no gradient."""
    cdef Py_ssize_t n = len(children), i
    cdef PyObject **parent = <PyObject **> malloc(n * sizeof(PyObject *))
    cdef double *d = <double *> malloc(n * sizeof(double))
    try:
        if parent == NULL or d == NULL:
            raise MemoryError(f"Value: no memory for {n} children")
        if derivatives and len(derivatives) != n:
            raise OptionError(f"Value: {n} children and {len(derivatives)} local derivatives "
                              f"({n} != {len(derivatives)})")
        for i in range(n):
            if not isinstance(children[i], Value):
                raise DTypeError(f"Value: a child is a Value, not {type(children[i]).__name__}")
            parent[i] = <PyObject *> children[i]
            d[i] = number(derivatives[i], -1) if derivatives else 0
        self.v.op = MGX_MADE
        link_parents(self, n, parent, d)
    finally:
        free(parent)
        free(d)
    return 0


# ----- nodes with many operands --------------------------------------------------------------------------------

cdef inline double operand_value(object o, PyObject **parent) except? -1.5:
    """The number of an operand; ``parent`` becomes the Value that it is, or NULL."""
    parent[0] = <PyObject *> o if type(o) is Value else NULL
    return (<Value> o).y if type(o) is Value else number(o, -1)


cdef Value weighted(int op, object values, object weight):
    """sum_i weight_i * value_i as one node; weight is a number or a sequence of Values and numbers."""
    cdef tuple xs = tuple(values), ws, recorded = None
    cdef bint products = not isinstance(weight, float)
    cdef Py_ssize_t n = len(xs), i, m = 0
    cdef double total = -0.0 if n else 0.0, x, w                    # -0.0 + x is x, whatever the sign of x
    cdef PyObject **parent
    cdef double *d
    cdef Value out
    cdef bint linked = False
    cdef str name = SYMBOLS[op]
    ws = tuple(weight) if products else None
    if products and len(ws) != n:
        raise OptionError(f"{name}: {len(ws)} weights and {n} values ({len(ws)} != {n})")
    if tracer and is_recording():
        recorded = tuple([o for pair in zip(xs, ws) for o in pair]) if products else xs
        xs = tuple([given_of(o) for o in xs])
        ws = tuple([given_of(o) for o in ws]) if products else None
    parent = <PyObject **> malloc((2 * n + 1) * sizeof(PyObject *))
    d = <double *> malloc((2 * n + 1) * sizeof(double))
    try:
        if parent == NULL or d == NULL:
            raise MemoryError(f"{name}: no memory for {n} operands")
        for i in range(n):
            x = operand_value(xs[i], &parent[m])
            if products:
                w = operand_value(ws[i], &parent[m + 1])
                d[m + 1] = x if parent[m + 1] != NULL else w
            else:
                w = weight
            total += w * x
            d[m] = w if parent[m] != NULL else x
            linked |= parent[m] != NULL or products and parent[m + 1] != NULL
            m += 2 if products else 1
        out = new_value(total, op)
        if grad_enabled():
            if linked:
                link_parents(out, m, parent, d)
        elif recording is None:
            watch("a result without its graph (no_grad)")
        if recorded is not None:
            recording.add(out, op, recorded)
        return out
    finally:
        free(parent)
        free(d)


def dot(weights, values):
    """The sum of products of two equally long sequences of Values and numbers, as one node.

    >>> from microgradx import Value, dot
    >>> w, x = [Value(1.0), Value(2.0)], [Value(3.0), 4.0]
    >>> y = dot(w, x)
    >>> y.backward()
    >>> y.data, w[1].grad, x[0].grad
    (11.0, 4.0, 1.0)
    """
    return weighted(MGX_DOT, values, weights)


def scalar_sum(values):
    """The sum of a sequence of Values and numbers, as one node."""
    return weighted(MGX_SUM, values, 1.0)


def scalar_mean(values):
    """The mean of a sequence of Values and numbers, as one node."""
    values = list(values)
    if not values:
        raise OptionError("mean: of no values")
    return weighted(MGX_MEAN, values, 1.0 / len(values))
