"""Arrays: counted bytes, the geometry over them, and the node an array has in a graph.
``Array`` is the body of ``Tensor``; it knows no operation. NumPy is asked for what it does best: reading what
users hand in, and the stride arithmetic of indexing.
"""
cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.buffer cimport (PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_F_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND,
                             PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from libc.stdlib cimport free as c_free, malloc, realloc
from libc.string cimport memcpy

from microgradx._core.graph cimport (FreeList, Type, drop_parents, call_site, grad_enabled, push_free, make_object,
                                     parents, recording_sites, release, set_parents, pop_free)
from microgradx._core.kernels cimport *
from microgradx._core.memory cimport aligned_alloc, aligned_free

import numpy as np

from microgradx.errors import DTypeError, GraphError, ShapeError, described

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *)
    long long PyLong_AsLongLongAndOverflow(object, int *overflow) noexcept
    double PyFloat_AsDouble(object) noexcept
    Py_ssize_t PySequence_Fast_GET_SIZE(object) noexcept
    PyObject *PySequence_Fast_GET_ITEM(object, Py_ssize_t) noexcept
    PyObject *PyErr_NoMemory() except NULL

cdef Py_ssize_t[4] ITEMSIZE = [4, 8, 8, 1]
cdef int[4] SHIFT = [2, 3, 3, 0]                   # its logarithm
cdef list DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)]
cdef list FORMATS = [b"f", b"d", b"q", b"?"]
itemsize = ITEMSIZE


# ----- storage -----------------------------------------------------------------------------------------------
# Blocks come in classes, four to each doubling, and are kept for reuse: a training step asks for the same
# sizes again and again, and fresh pages cost more than the arithmetic done on them.

cdef enum: BORROWED = -1, APART = -2, RECORD = -3       # sizes that are no class: see `Storage`
cdef enum: HEADER = 64, CLASSES = 240, SMALL = 4096, KEPT_SMALL = 256, KEPT_LARGE = 4
cdef Py_ssize_t KEPT_BYTES = 512 << 20             # of free large blocks, together
cdef Storage *free_blocks[CLASSES]
cdef int free_count[CLASSES]
cdef Py_ssize_t free_bytes = 0


cdef inline int class_of(Py_ssize_t nbytes, Py_ssize_t *capacity) noexcept nogil:
    """The class of a block and the bytes it holds: multiples of 64 up to 512, then four steps per doubling."""
    cdef Py_ssize_t steps
    cdef int k = 0, shift = 6
    while nbytes > <Py_ssize_t> 8 << shift:
        shift += 1
        k += 4
    steps = (nbytes + (<Py_ssize_t> 1 << shift) - 1) >> shift
    capacity[0] = steps << shift
    return k + <int> steps


cdef Storage *allocate(Py_ssize_t nbytes) except NULL:
    cdef Storage *s = take_block(nbytes)
    return name_block(s) if capture else s


cdef inline Storage *take_block(Py_ssize_t nbytes) except NULL:
    global free_bytes
    cdef Py_ssize_t capacity
    cdef int k = class_of(nbytes, &capacity)
    cdef Storage *s = free_blocks[k]
    if not MGX_RECYCLES:
        return new_block(k, nbytes)
    if s == NULL:
        return new_block(k, capacity)
    free_blocks[k] = s.next
    free_count[k] -= 1
    if capacity > SMALL:
        free_bytes -= capacity
    s.refs, s.born = 1, 0
    s.version = s.views = s.graph_views = s.finite_version = 0
    s.readonly = s.held = 0
    return s


cdef Storage *new_block(int k, Py_ssize_t capacity) except NULL:
    global block_bytes, most_block_bytes
    cdef Storage *s = <Storage *> aligned_alloc(HEADER + capacity, HEADER)
    if s == NULL:
        raise MemoryError(f"no memory for an array of {capacity} bytes")
    s.data = <char *> s + HEADER
    s.nbytes, s.size_class, s.owner, s.next = capacity, <int16_t> k, NULL, NULL
    s.refs, s.born = 1, 0
    s.version = s.views = s.graph_views = s.finite_version = 0
    s.readonly = s.held = 0
    block_bytes += capacity
    most_block_bytes = max(most_block_bytes, block_bytes)
    return s


cdef void free_block(Storage *s) noexcept:
    global block_bytes
    block_bytes -= s.nbytes
    aligned_free(s)


cdef Py_ssize_t block_bytes = 0, most_block_bytes = 0


def allocated_bytes(bint restart=False):
    """The bytes that arrays have been given by the system, free blocks that are kept for reuse among them: now, and at
    most since the last ``restart``, before which free blocks are given back."""
    global most_block_bytes
    if restart:
        free_unused_blocks(0)
        most_block_bytes = block_bytes
    return block_bytes, most_block_bytes


cdef void free_unused_blocks(Py_ssize_t above) noexcept:
    """Give back what is kept for reuse and has more bytes than that."""
    global free_bytes
    cdef int k
    cdef Storage *s
    for k in range(CLASSES):
        while free_blocks[k] != NULL and free_blocks[k].nbytes > above:
            s = free_blocks[k]
            free_blocks[k] = s.next
            free_count[k] -= 1
            if s.nbytes > SMALL:
                free_bytes -= s.nbytes
            free_block(s)


cdef Storage *name_block(Storage *block) except NULL:
    """While a program is captured, a storage's record lies apart from its bytes, and stays until the capture ends: so
    it means one lifetime, although the bytes are given to others."""
    cdef Storage *s = <Storage *> aligned_alloc(HEADER, HEADER)
    if s == NULL:
        forget_block(block)
        raise MemoryError("no memory for an array")
    s[0] = block[0]
    s.size_class, s.born = APART, capture
    return s


cdef inline Storage *block_of(Storage *s) noexcept:
    """Of a storage whose record lies apart: the block of its bytes."""
    return <Storage *> (s.data - HEADER)


cdef Storage *borrow_storage(object owner, char *data, Py_ssize_t nbytes) except NULL:
    """Bytes that ``owner`` keeps alive, an ndarray: its elements alone are ours, others may lie between them."""
    cdef Storage *s = <Storage *> aligned_alloc(HEADER, HEADER)
    if s == NULL:
        raise MemoryError("no memory for an array")
    s.data, s.nbytes, s.refs, s.version, s.size_class = data, nbytes, 1, 0, BORROWED
    s.views = s.graph_views = s.finite_version = 0
    s.readonly = s.held = s.born = 0
    s.next = NULL
    Py_INCREF(owner)
    s.owner = <PyObject *> owner
    return s


cdef Storage nothing            # what an array has before it is made
cdef double nothing_there = 0
nothing.refs = 1
nothing.data = <char *> &nothing_there


cdef void drop_storage(Array a) noexcept:
    cdef Storage *s = a.storage
    a.storage = &nothing
    if s != &nothing:
        s.views -= a.view
        s.graph_views -= a.graph_view
        a.view = a.graph_view = False
        unref(s)


cdef int share_storage(Array to, Array source) except -1:
    """Give ``to`` the storage and geometry of ``source``. The old bytes go last: their owner may run Python code."""
    cdef Storage *before = to.storage
    cdef int d
    if to.ndim != source.ndim:                          # a new array: others keep their axes, which callers point to
        give_axes(to, source.ndim)
    source.storage.refs += 1
    before.views -= to.view
    before.graph_views -= to.graph_view
    to.view = to.graph_view = False
    to.storage, to.data, to.dtype_ = source.storage, source.data, source.dtype_
    to.size, to.contiguous = source.size, source.contiguous
    for d in range(source.ndim):
        to.shape_[d], to.strides_[d] = source.shape_[d], source.strides_[d]
    if before != &nothing:
        unref(before)
    return 0


cdef void unref(Storage *s) noexcept:
    s.refs -= 1
    if s.refs:
        return
    if capture:
        keep_block(s)
    else:
        forget_block(s)


cdef void forget_block(Storage *s) noexcept:
    """A block that nobody refers to: kept for reuse, or given back."""
    global free_bytes
    cdef int k = s.size_class
    cdef bint large = s.nbytes > SMALL
    if k < 0:
        if k == APART:
            forget_block(block_of(s))
        elif k == BORROWED:
            release(s.owner)
        aligned_free(s)
    elif MGX_RECYCLES and free_count[k] < (KEPT_LARGE if large else KEPT_SMALL) and \
            (not large or free_bytes + s.nbytes <= KEPT_BYTES):
        s.next = free_blocks[k]
        free_blocks[k] = s
        free_count[k] += 1
        if large:
            free_bytes += s.nbytes
    else:
        free_block(s)


cdef Storage **kept = NULL
cdef Py_ssize_t kept_count = 0, kept_room = 0
cdef uint16_t captures = 0


cdef void keep_block(Storage *s) noexcept:
    """A storage that was let go: the record is kept until the capture ends if a launch may name it, without its bytes
    if it was made during the capture. Without memory for that it leaks."""
    global kept, kept_count, kept_room
    cdef void *larger
    if s.size_class == APART and s.born == capture and not bytes_are_kept:
        forget_block(block_of(s))
        s.size_class = RECORD
    elif not is_named(s):
        forget_block(s)
        return
    if kept_count == kept_room:
        larger = realloc(kept, (2 * kept_room + 64) * sizeof(Storage *))
        if larger == NULL:
            return
        kept, kept_room = <Storage **> larger, 2 * kept_room + 64
    kept[kept_count] = s
    kept_count += 1


cdef bint bytes_are_kept = False


cdef void keep_bytes(bint on) noexcept:
    global bytes_are_kept
    bytes_are_kept = on


cdef void name_storage(Storage *s) noexcept:
    """A launch of the capture under way names it."""
    s.next = <Storage *> (~<size_t> capture)


cdef bint is_named(Storage *s) noexcept:
    return s.next == <Storage *> (~<size_t> capture)


cdef bint keep_blocks() noexcept:
    """A capture begins; False if there is one under way, in another thread."""
    global capture, captures
    if capture:
        return False
    captures = captures + 1 if captures < 0xFFFF else 1
    capture = captures
    return True


cdef Storage **kept_blocks(Py_ssize_t *count) noexcept:
    """The capture ends: the records of what was let go, the caller's to `forget_block`, as the list is to free."""
    global capture, kept, kept_count, kept_room
    cdef Storage **found = kept
    count[0] = kept_count
    kept, kept_count, kept_room, capture = NULL, 0, 0, 0
    free_unused_blocks(SMALL)                             # the program has a block of its own for all of them
    return found


# ----- nodes -------------------------------------------------------------------------------------------------

@cython.final
cdef class Node:
    """How an array was made: operands, what the backward pass needs, hooks.

    Outside the garbage collector until it has hooks: without them no cycle can form.
    """

    def __cinit__(self):
        if first_node is not None:
            raise GraphError("Node: made by operations, not by hand")

    cdef int save(self, int k, Array a) except -1:
        Py_INCREF(a)
        self.saved[k] = <void *> a
        self.version[k] = a.storage.version
        return 0

    cdef Array load(self, int k):
        """A saved array, unless it was written to since."""
        self.check(k)
        return <Array> self.saved[k]

    cdef int check(self, int k) except -1:
        cdef Storage *s
        if self.saved[k] == NULL:
            raise GraphError("backward: the graph was freed by another backward() while this one ran")
        s = <Storage *> self.saved[k] if self.saved_data[k] != NULL else (<Array> self.saved[k]).storage
        if s.version != self.version[k]:
            raise GraphError(f"backward: {node_name(self)} needs {'its result' if k == 3 else f'operand {k}'} as it "
                             f"was when it ran, but that was written to since (version {s.version}, saved "
                             f"{self.version[k]}); write to a clone() instead (y = y + 1 for y += 1), or after "
                             "backward()")
        return 0

    cdef void free(self) noexcept:
        """Let go of operands and parents; a leaf keeps its gradient. What goes may run Python code, to which the node
        is freed already."""
        cdef int k
        cdef void *held
        if self.v.op != OP_LEAF:
            self.label = label_of(self)
            self.v.op = OP_FREED
        for k in range(4):
            held = self.saved[k]
            if held != NULL:
                self.saved[k] = NULL
                if self.saved_data[k] != NULL:
                    unref(<Storage *> held)
                else:
                    release(<PyObject *> held)
        self.args = None
        drop_parents(&self.v)

    # what `grad_fn` of a tensor shows, in torch's words

    def name(self):
        """The name of the operation, ``"MulBackward0"``; ``"AccumulateGrad"`` of a leaf."""
        cdef str operation = node_name(self)
        if self.v.op == OP_LEAF:
            return "AccumulateGrad"
        if operation != operation.lower():                  # a class of the caller's
            return f"{operation}Backward"
        return operation.title().replace("_", "") + "Backward0"

    @property
    def operation(self):
        """The operation as this library names it: ``"mul"``; ``"leaf"`` of a leaf."""
        return node_name(self)

    @property
    def next_functions(self):
        """``((node, 0), ...)``, one for each operand: its node, or None for one that wants no gradient."""
        cdef PyObject **operands = parents(&self.v)
        return tuple([(<Node> operands[k] if operands[k] != NULL else None, 0) for k in range(self.v.count)])

    def __repr__(self):
        return f"<{self.name()}>"


cdef enum: NODE = 224, HEAD_OF_NODE = 168       # bytes of a Node; of its fields that must begin as they are
cdef FreeList free_nodes


cdef Node new_node(int op, Array result):
    """The node of ``result``, which may be None. No Python code runs meanwhile."""
    cdef PyObject *block = pop_free(&free_nodes, HEAD_OF_NODE)
    cdef Node node
    if block == NULL:
        block = make_object(<Type *> Node)
        if block == NULL:
            PyErr_NoMemory()
        memcpy(<char *> block + sizeof(PyObject), free_nodes.pristine + sizeof(PyObject),
               HEAD_OF_NODE - sizeof(PyObject))
    Py_INCREF(None)                                     # `args`, `hooks`, `grad` and `site` of the copy
    Py_INCREF(None)
    Py_INCREF(None)
    Py_INCREF(None)
    node = <Node> block
    Py_DECREF(node)                                     # the variable holds the one reference
    node.v.op, node.born = op, capture
    if result is None:
        node.dtype, node.size = -1, 0
    else:
        node.dtype, node.size = result.dtype_, result.size
    if recording_sites:
        node.site = call_site()
    return node


cdef void delete_node(PyObject *o) noexcept:
    """The type's tp_dealloc."""
    PyObject_GC_UnTrack(o)
    if (<Node> o).v.op != OP_FREED:
        (<Node> o).free()
    Py_DECREF((<Node> o).args)
    Py_DECREF((<Node> o).hooks)
    Py_DECREF((<Node> o).site)
    release(<PyObject *> (<Node> o).grad)               # it may have a graph of its own
    push_free(&free_nodes, o)


cdef Node first_node = None
first_node = Node.__new__(Node)
if (<Type *> Node).tp_basicsize != NODE or <char *> &first_node.version - <char *> <void *> first_node > HEAD_OF_NODE:
    raise ImportError(f"a Node is not {NODE} bytes here")
PyObject_GC_UnTrack(<void *> first_node)
memcpy(free_nodes.pristine, <void *> first_node, NODE)
(<PyObject *> free_nodes.pristine).ob_refcnt = 1
(<Type *> Node).tp_dealloc = delete_node


cdef const char *LEAF = b"leaf"


cdef const char *label_of(Node node) noexcept:
    if node.label != NULL:
        return node.label
    return rows[node.v.op].name if node.v.op >= 0 else LEAF


cdef str node_name(Node node):
    return label_of(node).decode()


cdef dict lasting_names = {}


cdef bytes lasting_name(str name):
    """The name of an operation that is made while the program runs, as bytes that stay: nodes point at them."""
    return lasting_names.setdefault(name, name.encode())


cdef Array rebuild_saved(Node node, int k, Array g):
    """What was saved of operand ``k`` or of the result, as the array it was: part of the graph, if it had one. ``g`` is
    a gradient of the result, which tells the shape."""
    cdef Array a
    if node.saved_data[k] == NULL:
        return node.load(k)
    a = new_contiguous(node.dtype, g.ndim, g.shape_)
    if a.size != node.size:
        raise ShapeError(f"backward: a gradient of shape {shape_of(g)} for a result of {node.size} elements")
    node.check(k)
    a.storage, a.data = <Storage *> node.saved[k], node.saved_data[k]
    a.storage.refs += 1
    a.born = node.born                                  # the operand itself was met when the node was made
    if k == 3:
        a.node, a.needs_grad = node, True
    elif parents(&node.v)[k] != NULL:
        a.node, a.needs_grad = <Node> parents(&node.v)[k], True
    return a


cdef Node record_structured(Array out, const char *name, Vjp vjp, object args, Array a, Array b=None, Array c=None):
    """Make ``out`` the result of a structured operation on up to three arrays; None if no gradient is wanted."""
    cdef PyObject *parent[3]
    cdef Node node
    cdef Array x
    cdef int k, count = 0
    cdef bint needs_grad = False
    if not grad_enabled():
        return None
    for k in range(3):
        x = a if k == 0 else b if k == 1 else c
        parent[k] = NULL
        if x is not None:
            count = k + 1
            if x.needs_grad:
                parent[k] = node_pointer(x)
                needs_grad = True
                if capture:                             # also where nothing is launched, of no elements
                    note_outside(x)
    if not needs_grad:
        return None
    node = new_node(OP_STRUCTURED, out)
    node.label, node.vjp, node.args = name, vjp, args
    set_parents(&node.v, count, parent)
    out.node, out.needs_grad = node, True
    if out.view:
        out.graph_view = True
        out.storage.graph_views += 1
    return node


cdef Node record_result(Array out, const char *name, Vjp vjp, object args, list operands):
    """Make ``out`` the result of any number of operands: arrays, nodes, or None."""
    cdef Py_ssize_t count = len(operands), k
    cdef PyObject **parent = <PyObject **> malloc((count + 1) * sizeof(PyObject *))
    cdef Node node = new_node(OP_STRUCTURED, out)
    if parent == NULL:
        raise MemoryError(f"{name.decode()}: no memory for {count} operands")
    try:
        for k in range(count):
            operand = operands[k]
            parent[k] = <PyObject *> operand if isinstance(operand, Node) else node_pointer(operand)
        set_parents(&node.v, count, parent)
    finally:
        c_free(parent)
    node.label, node.vjp, node.args = name, vjp, args
    if out is not None:
        out.node, out.needs_grad = node, True
    return node


cdef class AtOnce:
    """How the gradients of all operands are worked out together, for the first of them that a pass asks for. The walk
    has them forgotten when it leaves the node: the next pass may have other numbers in the same array."""

    cdef object differentiate(self, Node node, Array g):
        """What `gradient_for` takes the gradients from, for the gradient ``g`` of the result."""
        raise NotImplementedError

    cdef object gradient_for(self, int i):
        return self.found[i]


cdef object at_once_vjp(Node node, Array g, int i):
    cdef AtOnce args = <AtOnce> node.args
    if args.gradient is not g:
        found = args.differentiate(node, g)
        args.found, args.gradient = found, g
    return args.gradient_for(i)


cdef Node record_at_once(Array out, const char *name, AtOnce args, list operands):
    """As `record_result`, for gradients that are worked out together."""
    return record_result(out, name, at_once_vjp, args, operands)


cdef void forget_gradients(Node node) noexcept:
    """A pass leaves the node."""
    if node.v.op == OP_STRUCTURED and node.vjp == at_once_vjp:
        (<AtOnce> node.args).gradient = (<AtOnce> node.args).found = None


cdef PyObject *node_pointer(Array a) except? NULL:
    """The node that a gradient for ``a`` goes to, which ``a`` holds; NULL where none is wanted."""
    if a is None or not a.needs_grad:
        return NULL
    if a.node is None:
        node_of(a)
    return <PyObject *> a.node


cdef Node node_of(Array a):
    """The node of an array that wants a gradient. No Python code runs meanwhile."""
    if a.node is None:
        a.node = new_node(OP_LEAF, a)
    return a.node


cdef int raise_freed() except -1:
    raise GraphError("backward: the graph was freed by an earlier backward(); give that one retain_graph=True, or "
                     "compute the result again")


# ----- arrays ------------------------------------------------------------------------------------------------

cdef FreeList free_arrays
cdef enum: HEAD = 72            # bytes of an Array before shape and strides, which are written anyway
cdef enum: NEAR = 6             # axes that an Array has room for; those of more are a block of their own


cdef void delete_array(PyObject *o) noexcept:
    """The type's tp_dealloc."""
    PyObject_GC_UnTrack(o)
    drop_storage(<Array> o)
    if (<Array> o).node is None:
        Py_DECREF(None)
    else:
        release(<PyObject *> (<Array> o).node)
    if (<Array> o).ndim > NEAR:
        c_free((<Array> o).shape_)
        use_own_axes(<Array> o)
    push_free(&free_arrays, o)


cdef int set_array_type(type tensor) except -1:
    """Results are Tensors: the class above tells its name once."""
    global array_type
    cdef Array a = Array.__new__(Array)
    if <char *> &a.shape_ - <char *> <PyObject *> a != HEAD or (<Type *> Array).tp_basicsize != (
            <Type *> tensor).tp_basicsize:
        raise ImportError(f"the head of an Array is not {HEAD} bytes here")
    array_type = <PyObject *> tensor
    memcpy(free_arrays.pristine, <void *> a, HEAD)
    (<PyObject *> free_arrays.pristine).ob_refcnt = 1
    (<PyObject *> free_arrays.pristine).ob_type = <PyTypeObject *> tensor
    (<Type *> tensor).tp_dealloc = delete_array
    return 0


cdef int give_axes(Array a, int ndim) except -1:
    """Room for the lengths and strides of the axes of a new array."""
    cdef Py_ssize_t *room
    if ndim > NEAR:
        room = <Py_ssize_t *> malloc(2 * ndim * sizeof(Py_ssize_t))
        if room == NULL:
            raise MemoryError(f"no memory for an array of {ndim} axes")
        a.shape_, a.strides_ = room, room + ndim
    a.ndim = ndim
    return 0


cdef inline void use_own_axes(Array a) noexcept:
    """What an array has before it is made, also one that waits for its next use: room for NEAR axes."""
    a.shape_, a.strides_ = a.axes_, a.axes_ + NEAR


cdef PyObject *make_array() except NULL:
    """What `pop_free` gives, where there is none to be used again."""
    cdef PyObject *block = make_object(<Type *> array_type)
    if block == NULL:
        PyErr_NoMemory()
    memcpy(<char *> block + sizeof(PyObject), free_arrays.pristine + sizeof(PyObject), HEAD - sizeof(PyObject))
    use_own_axes(<Array> block)
    return block


cdef inline Array new_array(int ndim):
    """A new array of ``ndim`` axes without storage. No Python code runs meanwhile."""
    cdef PyObject *block = pop_free(&free_arrays, HEAD)
    cdef Array a
    if block == NULL:
        block = make_array()
    Py_INCREF(None)                                     # `node` of the copy
    a = <Array> block
    Py_DECREF(a)                                        # the variable holds the one reference
    if ndim > NEAR:
        give_axes(a, ndim)
    a.ndim = ndim
    return a


cdef class Array(Differentiable):
    """Storage, geometry and node; the body of ``Tensor``."""

    def __cinit__(self):
        if array_type != NULL and type(self) is Array:
            raise GraphError("Array: the body of Tensor, of which alone there are objects")
        PyObject_GC_UnTrack(<void *> self)              # without hooks no cycle can form
        self.storage = &nothing
        self.data = <char *> &nothing_there
        use_own_axes(self)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        """A read-only view: a write that the version counter cannot see must not happen by accident."""
        if flags & PyBUF_WRITABLE:
            raise BufferError("Tensor: the buffer is read-only; write through the tensor's own methods")
        if self.needs_grad:
            raise BufferError("Tensor: this tensor requires a gradient, and a buffer has no graph; take t.detach()")
        if capture:
            note_reading()
        fill_buffer(self, self, buffer, flags, True)

    def __releasebuffer__(self, Py_buffer *buffer):
        end_export(<Export *> buffer.internal)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """The memory itself, shared with who asks (``torch.from_dlpack(t)``, ``np.from_dlpack(t)``) and kept alive as
        long as it is used there. Writable, unless it was handed in read-only.

        A write from outside does not raise ``version``: a graph that needs the old numbers will not notice. Write
        through the tensor, or give away a ``clone()``, while a graph is alive.

        Raises ``BufferError``, as the protocol wants it, for a tensor that requires a gradient (``detach()``), for
        another device, for negative strides, and for read-only memory where ``max_version`` is too old to say so.
        """
        if self.needs_grad:
            raise BufferError("dlpack: this tensor requires a gradient, which would not come back; share t.detach()")
        if dl_device is not None and dl_device != (1, 0):
            raise BufferError(f"dlpack: this memory is that of the processor, device (1, 0), not {dl_device!r:.80}")
        if not copy and min([self.strides_[d] for d in range(self.ndim)], default=0) < 0:
            raise BufferError("dlpack: negative strides, which not everybody takes; share t.contiguous()")
        shared = ndarray_to_read(self) if self.storage.readonly or copy else writable_ndarray(self)
        return shared.__dlpack__(stream=stream, max_version=max_version, copy=copy)

    def __dlpack_device__(self):
        """(1, 0): the memory of the processor."""
        return 1, 0


@cython.final
cdef class Window:
    """The same bytes: for launches that NumPy carries out. It asks for a buffer, and where that fails for an array."""
    cdef Array array
    cdef bint readonly

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if self.array is None:
            raise BufferError("Window: of no array")
        if self.readonly and flags & PyBUF_WRITABLE:
            raise BufferError("Window: of what is only read")
        fill_buffer(self, self.array, buffer, flags, self.readonly)

    def __releasebuffer__(self, Py_buffer *buffer):
        end_export(<Export *> buffer.internal)

    def __array__(self, dtype=None, copy=None):      # no-cython-lint
        raise MemoryError("no memory for an array of NumPy's")


cdef struct Export:                                     # what a buffer that was given away lives on
    Storage *storage
    Py_ssize_t axes[1]                                  # lengths and strides, as many as there are


cdef void end_export(Export *export) noexcept:
    cdef Storage *s = export.storage
    c_free(export)
    unref(s)


cdef bint in_columns(Array a) noexcept:
    """Does the first axis run fastest, without gaps?"""
    cdef Py_ssize_t expected = ITEMSIZE[a.dtype_]
    cdef int d
    for d in range(a.ndim if a.size else 0):
        if a.shape_[d] != 1 and a.strides_[d] != expected:
            return False
        expected *= a.shape_[d]
    return True


cdef int fill_buffer(object exporter, Array a, Py_buffer *buffer, int flags, bint readonly) except -1:
    """The export holds the storage and its own geometry, whatever becomes of the array. What is granted, and how, is
    what NumPy does: an axis of length 1 has the stride that it would have if the memory were read in order."""
    cdef bint columns = in_columns(a), by_columns
    cdef Export *export
    cdef Py_ssize_t *shape
    cdef Py_ssize_t *strides
    cdef Py_ssize_t stride = ITEMSIZE[a.dtype_]
    cdef int d, k
    if not readonly and a.storage.readonly:
        raise BufferError("Tensor: its memory is that of a read-only array")
    if flags & PyBUF_C_CONTIGUOUS == PyBUF_C_CONTIGUOUS and not a.contiguous:
        raise BufferError("Tensor: not C-contiguous, and the buffer was asked for so")
    if flags & PyBUF_F_CONTIGUOUS == PyBUF_F_CONTIGUOUS and not columns:
        raise BufferError("Tensor: not Fortran-contiguous, and the buffer was asked for so")
    if flags & PyBUF_ANY_CONTIGUOUS == PyBUF_ANY_CONTIGUOUS and not (a.contiguous or columns):
        raise BufferError("Tensor: not contiguous, and the buffer was asked for so")
    if not a.contiguous and flags & PyBUF_STRIDES != PyBUF_STRIDES:
        raise BufferError("Tensor: not C-contiguous, and the buffer was asked for without strides")
    export = <Export *> malloc(sizeof(Export) + 2 * a.ndim * sizeof(Py_ssize_t))
    if export == NULL:
        raise MemoryError("no memory for a buffer")
    shape, strides = export.axes, export.axes + a.ndim
    by_columns = columns and (not a.contiguous or flags & PyBUF_F_CONTIGUOUS == PyBUF_F_CONTIGUOUS)
    for k in range(a.ndim):
        d = k if by_columns else a.ndim - 1 - k
        shape[d], strides[d] = a.shape_[d], stride if a.contiguous or columns else a.strides_[d]
        stride *= a.shape_[d]
    export.storage = a.storage
    a.storage.refs += 1
    buffer.obj = exporter
    buffer.buf = a.data
    buffer.itemsize = ITEMSIZE[a.dtype_]
    buffer.len = a.size * buffer.itemsize
    buffer.readonly = readonly
    buffer.ndim = a.ndim if flags & PyBUF_ND == PyBUF_ND else 0
    buffer.format = <char *> FORMATS[a.dtype_] if flags & PyBUF_FORMAT == PyBUF_FORMAT else NULL
    buffer.shape = shape if a.ndim and flags & PyBUF_ND == PyBUF_ND else NULL
    buffer.strides = strides if a.ndim and flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
    buffer.suboffsets = NULL
    buffer.internal = export
    return 0


cdef object readable_ndarray(Array a):
    """The numbers without their graph: what NumPy may compute with where the engine knows what becomes of it."""
    return window(a, True)


cdef object ndarray_to_read(Array a):
    """The same for a person: a function that is being captured decides by what it reads."""
    if capture:
        note_reading()
    return window(a, True)


cdef object writable_ndarray(Array a):
    return window(a, False)


cdef object window(Array a, bint readonly):
    cdef Window w = Window.__new__(Window)
    w.array, w.readonly = a, readonly
    return np.asarray(w)


cdef char *address_of(object array) except? NULL:
    """The first element of an ndarray. `__array_interface__` tells it as well, but ends the process without memory."""
    cdef Py_buffer view
    cdef char *address
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    address = <char *> view.buf
    PyBuffer_Release(&view)
    return address


cdef int check_ndim(str op, Py_ssize_t ndim) except -1:
    """Refuse what has too many axes."""
    if ndim > MGX_MAXDIM:
        raise ShapeError(f"{op}: an array has at most {MGX_MAXDIM} axes, not {ndim}")
    return 0


cdef int check_shape(int ndim, const Py_ssize_t *shape) except -1:
    """Refuse what has a negative length, or more elements than can be addressed."""
    cdef Py_ssize_t size = 1
    cdef int d
    for d in range(ndim):
        if shape[d] < 0:
            raise ShapeError(f"a shape has no negative lengths: {tuple([shape[i] for i in range(ndim)])}")
        if shape[d] and size > PY_SSIZE_T_MAX // 16 // shape[d]:
            raise MemoryError(f"an array of shape {tuple([shape[i] for i in range(ndim)])} is too large")
        size *= shape[d]
    return 0


cdef inline Py_ssize_t needs_shape_check(int ndim, const Py_ssize_t *shape) noexcept:
    """Not 0 for a shape that `check_shape` has to look at: many axes, or a length that is large or negative."""
    cdef Py_ssize_t bits = 0
    cdef int d
    for d in range(ndim):
        bits |= shape[d]
    return bits >> 18 or ndim > 3


cdef inline Array new_contiguous(int dtype, int ndim, const Py_ssize_t *shape):
    """A new contiguous array that has no storage yet."""
    cdef size_t stride = ITEMSIZE[dtype]                # unsigned: with a length of 0 it may overflow
    cdef int d
    cdef Array a
    cdef Py_ssize_t *lengths
    cdef Py_ssize_t *steps
    if needs_shape_check(ndim, shape):
        check_shape(ndim, shape)
    a = new_array(ndim)
    lengths, steps = a.shape_, a.strides_
    for d in range(ndim - 1, -1, -1):
        lengths[d] = shape[d]
        steps[d] = stride
        stride *= <size_t> shape[d]
    a.dtype_, a.size, a.contiguous = dtype, stride >> SHIFT[dtype], True
    if stride == 0:                                     # next to a 0 the others may be of any length
        for d in range(ndim):
            a.strides_[d] = ITEMSIZE[dtype]
    return a


cdef Array empty(int dtype, int ndim, const Py_ssize_t *shape):
    """A new contiguous array with undefined contents."""
    cdef Array a = new_contiguous(dtype, ndim, shape)
    a.storage = allocate(a.size << SHIFT[dtype])
    a.data = a.storage.data
    return a


cdef Array empty_with_derivative(int dtype, int ndim, const Py_ssize_t *shape, Storage **derivative, char **address):
    """A new array, and bytes for its derivative: in the same block where that is small."""
    cdef Array y = new_contiguous(dtype, ndim, shape)
    cdef Py_ssize_t nbytes = y.size << SHIFT[dtype]
    if nbytes <= SMALL:
        derivative[0] = y.storage = allocate(2 * nbytes)
        derivative[0].refs = 2
        address[0] = derivative[0].data + nbytes
    else:
        y.storage, derivative[0] = allocate(nbytes), allocate(nbytes)
        address[0] = derivative[0].data
    y.data = y.storage.data
    return y


cdef Array empty_like(Array a):
    return empty(a.dtype_, a.ndim, a.shape_)


cdef Array geometry_of(Array a):
    """The shape, strides and dtype of ``a``, without memory: for `with_storage`."""
    cdef Array out = new_array(a.ndim)
    cdef int d
    for d in range(a.ndim):
        out.shape_[d], out.strides_[d] = a.shape_[d], a.strides_[d]
    out.dtype_, out.size, out.contiguous = a.dtype_, a.size, a.contiguous
    return out


cdef Array with_storage(Array geometry, Py_ssize_t nbytes, Py_ssize_t offset):
    """An array of this geometry from byte ``offset`` on in a new block of ``nbytes``; undefined contents."""
    cdef Array out = geometry_of(geometry)
    out.storage = allocate(nbytes)
    out.data = out.storage.data + offset
    return out


cdef Array alias(Array base, char *data, int dtype, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides):
    """Another geometry over the storage of ``base``, without a graph. No Python code runs meanwhile, so that ``data``
    and ``strides``, read from ``base`` for this call, are those of its storage."""
    cdef size_t size = 1, expected = ITEMSIZE[dtype]    # unsigned: with a length of 0 they may overflow
    cdef bint contiguous = True
    cdef int d
    cdef Array a
    cdef Py_ssize_t *lengths
    cdef Py_ssize_t *steps
    if needs_shape_check(ndim, shape):
        check_shape(ndim, shape)
    a = new_array(ndim)
    lengths, steps = a.shape_, a.strides_
    for d in range(ndim - 1, -1, -1):
        lengths[d], steps[d] = shape[d], strides[d]
        size *= <size_t> shape[d]
        if shape[d] != 1:
            contiguous = contiguous and strides[d] == <Py_ssize_t> expected
            expected *= <size_t> shape[d]
    a.storage = base.storage
    base.storage.refs += 1
    a.data, a.dtype_, a.size, a.contiguous = data, dtype, size, contiguous or size == 0
    if capture:
        a.born = capture
        note_outside(base)
    if note_viewed != NULL:
        note_viewed(base)
    return a


cdef Array view_of(Array base, char *data, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides):
    """As alias, counted as a view: writes must take care of it."""
    cdef Array a = alias(base, data, base.dtype_, ndim, shape, strides)
    a.view = True
    a.storage.views += 1
    return a


cdef Array unmark_view(Array a):
    """A view of what only it holds is no view: nobody else can see it written to. It is part of the operation that made
    what it holds, and its node has that name."""
    if a.node is not None:
        a.node.label = label_of(<Node> parents(&a.node.v)[0])
    if a.view:
        a.storage.views -= 1
        a.storage.graph_views -= a.graph_view
        a.view = a.graph_view = False
    return a


cdef Array detached(Array a):
    """The same bytes and version, no graph."""
    return alias(a, a.data, a.dtype_, a.ndim, a.shape_, a.strides_)


cdef tuple shape_of(Array a):
    return tuple([a.shape_[d] for d in range(a.ndim)])


# ----- writes ------------------------------------------------------------------------------------------------

cdef int check_writable(Array a, str op) except -1:
    """Refuse to write to read-only memory, or to one element under several names."""
    cdef int d
    if a.storage.readonly:
        raise GraphError(f"{op}: this tensor shares the memory of a read-only array; write to a clone() instead")
    for d in range(a.ndim):
        if a.strides_[d] == 0 and a.shape_[d] > 1 and a.size:
            raise GraphError(f"{op}: axis {d} of this view is broadcast, its elements share memory; write to a clone() "
                             "instead")
    if note_written != NULL:
        note_written(a)
    return 0


cdef int check_write(Array a, str op) except -1:
    """Refuse a write that would make a recorded graph wrong, or reach read-only memory."""
    check_writable(a, op)
    if not grad_enabled():
        return 0
    if a.needs_grad and (a.node is None or a.node.v.op == OP_LEAF):
        raise GraphError(f"{op}: a leaf that requires a gradient, here of shape {shape_of(a)}, is written to only "
                         "under no_grad(), as optimizers do, or as x.detach(); for a result with a gradient write to a "
                         "clone()")
    if a.graph_view:
        raise GraphError(f"{op}: this is a view that has a graph, or an argument of a function that is differentiated; "
                         "write to a clone() instead")
    if a.storage.graph_views:
        raise GraphError(f"{op}: views of this tensor have a graph; write to a clone() instead")
    return 0


cdef int check_shared(Array a, str op) except -1:
    """Refuse to write a value that has a graph where other tensors would not learn of it."""
    if a.view or a.storage.views:
        raise GraphError(f"{op}: a value with a graph is not written into a tensor that shares its storage with "
                         "views; write to a clone() instead")
    return 0


cdef int bump_version(Array a) except -1:
    a.storage.version += 1
    return 0


# ----- from and to Python ------------------------------------------------------------------------------------

cdef object dtype_of(int code):
    return DTYPES[code]


cdef dict CODES = {name: k for k, d in enumerate(DTYPES) for name in (d, d.name, d.type)}     # as they are mostly given


cdef int dtype_code(object dtype) except -1:
    """float32, float64, int64 or bool, by any name that NumPy knows."""
    try:
        code = CODES.get(dtype)
        return DTYPES.index(np.dtype(dtype)) if code is None else code
    except (TypeError, ValueError):
        raise DTypeError(f"Tensor: dtype is float32, float64, int64 or bool, not {dtype!r}") from None


cdef str first_of_another_kind(object array):
    """Which element is no number, and what to do."""
    if array.dtype.kind not in "OUS" or array.ndim > MGX_MAXDIM:           # beyond which NumPy does not enumerate
        return ""
    for index, o in np.ndenumerate(array):
        if isinstance(o, (str, bytes)):
            text = str(o) if isinstance(o, str) else bytes(o)           # of NumPy's own, which show themselves
            return f": at {list(index)} is the text {text!r:.40}; make texts numbers first"
        if array.dtype.kind == "O" and not isinstance(o, (int, float, np.integer, np.floating, np.bool_)):
            return f": at {list(index)} is {'None' if o is None else described(o)}"
        if isinstance(o, int) and not -2**63 <= o < 2**63:
            return f": at {list(index)} is an integer beyond int64"
    return "; astype makes them so"


default_float = MGX_F32                             # of what is made of Python's numbers


def get_default_dtype():
    """The dtype of tensors made of Python's floats and of nothing but a shape.

    >>> import microgradx as mgx
    >>> mgx.get_default_dtype()
    dtype('float32')
    """
    return DTYPES[default_float]


def set_default_dtype(dtype):
    """Let Python's floats, lists and shapes make tensors of ``dtype``, float32 (as it is at first) or float64.

    It also counts for layers and for what operations on integers give. NumPy's arrays keep their dtype. Raises
    ``DTypeError`` for any other dtype.

    >>> import microgradx as mgx
    >>> mgx.set_default_dtype("float64")
    >>> mgx.Tensor([1.0]).dtype, mgx.zeros(2).dtype
    (dtype('float64'), dtype('float64'))
    >>> mgx.set_default_dtype("float32")
    """
    global default_float
    cdef int code = dtype_code(dtype)
    if code > MGX_F64:
        raise DTypeError(f"set_default_dtype: float32 or float64, not {DTYPES[code]}")
    default_float = code


cdef bint is_foreign(object data):
    """Is ``data`` an array of NumPy or of another library, which has a dtype of its own?"""
    return isinstance(data, (np.ndarray, np.generic)) or hasattr(data, "__array_interface__")


cdef enum: BOOLS = 1, INTEGERS = 2, FLOATS = 4          # Python's numbers in nested lists, a bit for each kind


cdef int kinds_of(object data, int ndim, const Py_ssize_t *shape) noexcept:
    """Which kinds of numbers are in nested lists of this shape; 0 if that is not what they are."""
    cdef int found = 0, kinds, overflow
    cdef Py_ssize_t i
    if ndim == 0:
        if type(data) is float:
            return FLOATS
        if type(data) is bool:
            return BOOLS
        if type(data) is not int:
            return 0
        PyLong_AsLongLongAndOverflow(data, &overflow)
        return 0 if overflow else INTEGERS
    if type(data) is not list and type(data) is not tuple or PySequence_Fast_GET_SIZE(data) != shape[0]:
        return 0
    for i in range(shape[0]):
        kinds = kinds_of(<object> PySequence_Fast_GET_ITEM(data, i), ndim - 1, shape + 1)
        if kinds == 0:
            return 0
        found |= kinds
    return found


cdef char *write_numbers(object data, int ndim, const Py_ssize_t *shape, int dtype, bint as_floats, char *to) noexcept:
    """The numbers of nested lists, one after the other; behind the last."""
    cdef int overflow
    cdef double number
    cdef long long integer
    cdef Py_ssize_t i
    if ndim:
        for i in range(shape[0]):
            to = write_numbers(<object> PySequence_Fast_GET_ITEM(data, i), ndim - 1, shape + 1, dtype, as_floats, to)
        return to
    if as_floats:                               # as NumPy, which makes doubles of all, if one is a float
        number = PyFloat_AsDouble(data)
        if dtype == MGX_F32:
            (<float *> to)[0] = <float> number
        else:
            (<double *> to)[0] = number
        return to + ITEMSIZE[dtype]
    integer = PyLong_AsLongLongAndOverflow(data, &overflow)
    if dtype == MGX_F32:
        (<float *> to)[0] = <float> integer
    elif dtype == MGX_F64:
        (<double *> to)[0] = <double> integer
    elif dtype == MGX_I64:
        (<long long *> to)[0] = integer
    else:
        to[0] = integer != 0
    return to + ITEMSIZE[dtype]


cdef Array from_lists(object data, object dtype):
    """An array of nested lists of Python's numbers, or of one number; None for anything else: NumPy reads that."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int ndim = 0, kinds, code = 0
    cdef object first = data
    cdef Array a
    while type(first) is list or type(first) is tuple:
        if ndim == MGX_MAXDIM or PySequence_Fast_GET_SIZE(first) == 0:
            return None
        shape[ndim] = PySequence_Fast_GET_SIZE(first)
        ndim += 1
        first = <object> PySequence_Fast_GET_ITEM(first, 0)
    if type(first) is not float and type(first) is not int and type(first) is not bool:
        return None
    if dtype is not None:                       # an object of the user's, which may change the lists; then none runs
        code = dtype_code(dtype)
    kinds = kinds_of(data, ndim, shape)
    if kinds == 0:
        return None
    if dtype is None:
        code = default_float if kinds & FLOATS else MGX_I64 if kinds & INTEGERS else MGX_BOOL
    if kinds & FLOATS and code > MGX_F64:
        return None
    a = empty(code, ndim, shape)
    write_numbers(data, ndim, shape, code, kinds & FLOATS != 0, a.data)
    if capture:
        freeze(a)
    return a


cdef Array from_object(object data, object dtype, bint copy):
    """An array of what NumPy makes of ``data``; Python floats get the default dtype."""
    cdef Array a = from_lists(data, dtype)
    if a is not None:
        return a
    return from_array(data, dtype, copy)


cdef Array from_array(object data, object dtype, bint copy):
    """An array of what is no list of Python's numbers."""
    cdef Array a
    cdef bint foreign = is_foreign(data)
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef int d
    cdef size_t address, first, stop
    if isinstance(data, (list, tuple)) and any([isinstance(o, Array) and (<Array> o).needs_grad for o in data]):
        raise GraphError("Tensor: a list of tensors that require a gradient would lose it; stack() keeps it")
    if not foreign and hasattr(type(data), "__dlpack__"):
        raise DTypeError(f"Tensor: no array is made of {described(data)}")
    try:
        array = given = np.asarray(data)
        if array.dtype.kind not in "fiub" and isinstance(data, (list, tuple)):
            given = np.asarray(data, object)            # the elements as they are, not made texts like their neighbours
    except ValueError as error:
        raise ShapeError(f"Tensor: the data do not form an array: {error}") from None
    except (RuntimeError, TypeError) as error:          # of whoever made the object
        raise DTypeError(f"Tensor: no array is made of {described(data)}: {error}") from None
    if dtype is not None:
        wanted = DTYPES[dtype_code(dtype)]
    elif array.dtype.kind == "f":
        wanted = DTYPES[default_float if not foreign else MGX_F64 if array.dtype.itemsize == 8 else MGX_F32]
    elif array.dtype.kind in "iu":
        wanted = DTYPES[MGX_I64]
    elif array.dtype.kind == "b":
        wanted = DTYPES[MGX_BOOL]
    else:
        wanted = None
    if wanted is None or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise DTypeError(f"Tensor: data of dtype {array.dtype} are not real numbers of at most 64 bits"
                         f"{first_of_another_kind(given)}")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and array.max() > 2**63 - 1:
        raise DTypeError("Tensor: unsigned integers beyond int64")
    shared = not copy and array.dtype == wanted and array.flags.aligned
    if shared:
        array = array.view()                            # nobody else gives it another shape meanwhile
    check_ndim("Tensor", array.ndim)
    for d in range(array.ndim):
        shape[d], strides[d] = array.shape[d], array.strides[d]
    if shared:
        a = new_array(0)
        first = stop = address = <size_t> address_of(array)
        if array.size:
            stop += <size_t> array.itemsize
            for d in range(array.ndim):                 # from the lowest element to the highest
                if strides[d] < 0:
                    first -= <size_t> (-strides[d] * (shape[d] - 1))
                else:
                    stop += <size_t> (strides[d] * (shape[d] - 1))
        a.storage = borrow_storage(array, <char *> first, <Py_ssize_t> (stop - first))
        a.storage.readonly = not array.flags.writeable
        return alias(a, <char *> address, DTYPES.index(wanted), array.ndim, shape, strides)
    a = empty(DTYPES.index(wanted), array.ndim, shape)
    with np.errstate(all="ignore"):
        writable_ndarray(a)[...] = array
    if capture:
        freeze(a)
    return a
