"""What transforms are made of: inputs of a function as nodes of their own, gradients for given nodes, derivatives in
Python.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport strcmp

from microgradx._core.array cimport *
from microgradx._core.backward cimport cotangent, refuse_no_graph, walk
from microgradx._core.elementwise cimport apply
from microgradx._core.graph cimport (Order, grad_enabled, parents, pause_watching, set_current_site,
                                     set_grad_enabled, topological)
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport fill

from microgradx.errors import DTypeError, GraphError, ShapeError


# ----- the inputs of a function that is differentiated ------------------------------------------------------------

cdef object input_vjp(Node node, Array g, int i):
    return g


def traced(Array x not None, bint linked=True):
    """The numbers of ``x`` as a node of their own, to which gradients can be asked for; ``linked`` to that of x.

    It counts as a view that has a graph: it is not written to, and neither is ``x`` while a graph is recorded.
    """
    cdef Array out
    if x.dtype_ > MGX_F64:
        raise DTypeError(f"only floats have a gradient, not {dtype_of(x.dtype_)}")
    out = view_of(x, x.data, x.ndim, x.shape_, x.strides_)
    record_result(out, b"input", input_vjp, None, [x] if linked and x.needs_grad else [])
    out.graph_view = True
    out.storage.graph_views += 1
    return out


def nodes_of(list operands not None):
    """The nodes that gradients for these go to; None for one that wants none."""
    return [node_of(a) if isinstance(a, Array) and (<Array> a).needs_grad else None for a in operands]


cdef int differentiating = 0        # functions that run now and are differentiated, in whichever thread


def follow(list inputs, bint on):
    """A function of these traced inputs starts to run, or has ended: meanwhile what is computed from them does not
    become a plain number. An input belongs to one run."""
    global differentiating
    cdef Array x
    differentiating += 1 if on else -1
    for x in inputs:
        x.node.args = FOLLOWED if on else None


cdef object FOLLOWED = object()


cdef int refuse_traced(str op, Array x) except -1:
    """Raise if ``x`` is an input of a function that is being differentiated, or was computed from one: as a plain
    number it would count as a constant."""
    cdef Order order
    cdef Py_ssize_t i
    cdef bint found = False
    if differentiating == 0 or not x.needs_grad or x.node is None:
        return 0
    topological(<PyObject *> x.node, <char *> &x.node.v - <char *> <PyObject *> x.node, &order, NULL)
    for i in range(order.count):
        if (<Node> order.item[i]).args is FOLLOWED:
            found = True
            break
    free(order.item)
    if found:
        raise GraphError(f"{op}: of a tensor that is an input of a function under differentiation, or was computed "
                         "from one: the derivative would not see what becomes of a plain number; use operations on "
                         "Tensors, or detach() where it is a constant")
    return 0


def sources(list outputs, list inputs):
    """The nodes that the outputs come from in the end, other than the traced inputs."""
    cdef Node sink = record_result(None, b"outputs", outputs_vjp, None, outputs), node
    cdef Order order
    cdef Py_ssize_t i
    cdef list found = []
    cdef dict own = {(<Array> x).node: None for x in inputs}
    topological(<PyObject *> sink, <char *> &sink.v - <char *> <PyObject *> sink, &order, NULL)
    try:
        for i in range(order.count):
            node = <Node> order.item[i]
            if node.v.count == 0 and node.v.op != OP_FREED and node is not sink and node not in own:
                found.append(node)
    finally:
        free(order.item)
    return found


cdef uint64_t PRIME = 0x100000001b3      # of FNV-1a


def trail(list outputs, list inputs):
    """(how many operations lead from the inputs to the outputs, a hash of their kinds, sizes and dtypes); None if one
    is a compiled call, which is one operation or as many as its function."""
    cdef Node sink = record_result(None, b"outputs", outputs_vjp, None, outputs), node
    cdef Order order
    cdef Py_ssize_t i, count = 0
    cdef int32_t k
    cdef uint64_t mixed = 0
    cdef PyObject **links
    cdef set own = {(<Array> x).node for x in inputs}
    topological(<PyObject *> sink, <char *> &sink.v - <char *> <PyObject *> sink, &order, NULL)
    reached = bytearray(order.count)
    reached[order.count - 1] = 1
    try:
        for i in range(order.count - 1, -1, -1):
            node = <Node> order.item[i]
            if not reached[i] or node in own:
                continue
            count += 1
            mixed = (mixed ^ <uint64_t> node.v.op << 32 ^ <uint64_t> node.dtype) * PRIME
            mixed = (mixed ^ <uint64_t> node.size << 16 ^ <uint64_t> node.v.count) * PRIME
            if node.v.op == OP_STRUCTURED:
                if node.label != NULL and strcmp(node.label, b"compiled") == 0:
                    return None
                mixed = (mixed ^ <uint64_t> <size_t> node.vjp) * PRIME
            links = parents(&node.v)
            for k in range(node.v.count):
                if links[k] != NULL:
                    reached[(<Node> links[k]).v.slot] = 1
    finally:
        free(order.item)
    return count - 1, mixed


# ----- gradients for given arrays or nodes ------------------------------------------------------------------------

cdef object outputs_vjp(Node node, Array g, int i):
    return node.args[i]


def gradients(str op, list outputs, list inputs, list given, bint retain_graph, bint create_graph, bint ends=False):
    """[d outputs / d input]: gradients ``given`` for the outputs (None: 1), carried to the inputs; no ``grad`` changes.

    An input is an array that requires a gradient, or a node; with ``ends`` the walk goes on from none. The
    result is None for one that no output depends on.
    """
    cdef Node sink, node
    cdef Array g, y
    cdef dict wanted = {}
    cdef list nodes = [], found = [], seeds = []
    cdef bint freed
    for y, seed in zip(outputs, given):
        if not y.needs_grad:
            refuse_no_graph(op, y)
        seeds.append(cotangent(op, y, seed))
    for k, x in enumerate(inputs):
        if isinstance(x, Array) and not (<Array> x).needs_grad:
            raise GraphError(f"{op}: input {k} does not require a gradient; set requires_grad=True before computing")
        node = x if isinstance(x, Node) else node_of(x)
        nodes.append(node)
        wanted[node] = ends or node.vjp == input_vjp
    sink = record_result(None, b"outputs", outputs_vjp, seeds, outputs)
    g = empty(MGX_F32, 0, NULL)                             # that of the node which joins the outputs: nobody reads
    fill(g, float("nan"))                                   # it, and nobody is to blame for what was given
    freed = walk(sink, g, retain_graph, create_graph, wanted)
    for node in nodes:
        g = wanted[node] if isinstance(wanted[node], Array) else None
        if g is None and freed:
            raise GraphError(f"{op}: an input was not reached, and part of the graph was freed by an earlier pass; "
                             "give that one retain_graph=True, or compute the result again")
        if g is not None and (not g.contiguous or g.storage.refs > 1 or any([g is o for o in seeds + found])):
            g = apply(MGX_clone, g, None, None)             # nobody else's numbers
        found.append(g)
    return found


# ----- operations whose derivative is a Python function -----------------------------------------------------------

cdef class ByHand(AtOnce):
    """A derivative that is a function in Python."""
    cdef bytes name
    cdef object function

    cdef object differentiate(self, Node node, Array g):
        cdef object site = set_current_site(None)       # whatever the function makes, it makes itself
        cdef bint paused = pause_watching(False)
        cdef tuple results
        try:
            results = tuple(self.function(g))
        finally:
            set_current_site(site)
            pause_watching(paused)
        if len(results) != node.v.count:
            raise ShapeError(f"{self.name.decode()}: {len(results)} gradients for {node.v.count} operands")
        return results


cdef bint is_by_hand(Node node) noexcept:
    """Is its derivative a function in Python?"""
    return node.v.op == OP_STRUCTURED and isinstance(node.args, ByHand)


def custom(str name not None, Array value not None, list operands, function, given=()):
    """``value``, made by what the graph does not see from ``operands`` (arrays, nodes, others).

    ``function(g)`` gives, for the gradient ``g`` of the value, the list of the operands' gradients, in their shapes and
    dtypes, or None. ``given`` are tensors that somebody else has, of which the value may be one.
    """
    cdef bint leaf = value.needs_grad and (value.node is None or value.node.v.op == OP_LEAF)
    cdef bint own = value.storage.refs == 1 and not leaf and not any([value is o for o in given])
    cdef Array out = detached(value) if own else clone_unrecorded(value)
    cdef list parts = [o if isinstance(o, Node) or isinstance(o, Array) and (<Array> o).needs_grad else None
                       for o in operands]
    cdef ByHand by_hand
    if grad_enabled() and any([o is not None for o in parts]) and value.dtype_ <= MGX_F64:
        by_hand = ByHand()
        by_hand.name, by_hand.function = lasting_name(name), function
        record_at_once(out, by_hand.name, by_hand, parts)
    return out


cdef Array clone_unrecorded(Array x):
    cdef bint mode = set_grad_enabled(False)
    try:
        return apply(MGX_clone, x, None, None)
    finally:
        set_grad_enabled(mode)
