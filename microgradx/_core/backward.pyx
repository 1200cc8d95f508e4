"""The backward pass over arrays: the walk of ``graph``, with a gradient at every node.

A vjp writes; a second contribution is one addition. What was broadcast gets one reduction. Leaves accumulate
into ``grad``; all other gradients belong to this one pass.
"""
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_DECREF, Py_XDECREF
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free

from microgradx._core.array cimport *
from microgradx._core.elementwise cimport apply, row_vjp
from microgradx._core.graph cimport (Order, parents, pause_watching, recording_sites, release, set_current_site,
                                     renumber, set_grad_enabled, topological)
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Operand, bump_gradients, elementwise, fill, note_gradient, put_array
from microgradx._core.structured cimport sum_to
from microgradx._core.views cimport convert, index_add_into
from microgradx._core.debug.watch cimport raise_non_finite, is_clean

from microgradx.errors import GraphError, ShapeError

cdef inline bint is_owned(Array g) noexcept:
    """Does nobody but the walk hold these bytes?"""
    return ((<PyObject *> g).ob_refcnt == 1 and g.storage.refs == 1 and g.storage.owner == NULL and g.node is None
            and g.contiguous)


cdef Array add_gradients(Array total, Array g):
    """total + g; into the buffer of ``total`` if only the walk holds it and no graph is wanted."""
    if g.needs_grad or total.needs_grad or not is_owned(total) or not same_shape(total, g):
        return apply(MGX_add, total, g, None)
    add_into(total, g)
    return total


cdef Array apply_vjp(Node node, Array g, int i, bint last):
    """The gradient for operand ``i`` of ``node``, in that operand's shape; ``g`` is needed no more after the last
    operand."""
    cdef Array dx, x
    if node.v.op == OP_STRUCTURED:
        return node.vjp(node, g, i)
    x = <Array> node.saved[i] if node.saved[i] != NULL and node.saved_data[i] == NULL else None
    dx = row_vjp(node, g, i, last and is_owned(g))
    return dx if x is None or same_shape(x, dx) else sum_to(dx, x.ndim, x.shape_)


cdef Array cast_gradient(Node node, Array dx, Node to):
    """``dx``, which ``node`` passes on, in the dtype of the result of ``to``, which it is a gradient of."""
    if dx.size != to.size:
        raise ShapeError(f"backward: {node_name(node)} gave a gradient of shape {shape_of(dx)} for an operand of "
                         f"{to.size} elements ({dx.size} != {to.size})")
    return convert(dx, to.dtype)


cdef Array apply_vjp_checked(Node node, Array g, int i):
    """As apply_vjp, under detect_nan: what is written on the way belongs to ``node``, only the gradient is examined."""
    cdef bint paused = pause_watching(True)
    cdef int k
    cdef object site = set_current_site(node.site)
    cdef Array dx
    cdef list operands
    try:
        dx = apply_vjp(node, g, i, False)
    finally:
        pause_watching(paused)
        set_current_site(site)
    if paused or dx is None or dx.storage == g.storage or is_clean(dx):
        return dx
    operands = [g]
    for k in range(4):
        if node.saved[k] != NULL and not (k == 3 and node.v.op >= 0 and facts[node.v.op].stores):
            operands.append(rebuild_saved(node, k, g))
    if all([is_clean(<Array> a) for a in operands]):
        raise_non_finite(f"backward of {node_name(node)}", dx, tuple(operands), node)
    return dx


cdef Array run_hooks(Node node, Array g):
    """Run the hooks of a node on its gradient; each may return another."""
    for hook in list(node.hooks.values()):
        version = g.storage.version
        result = hook(g)
        if g.storage.version != version:
            raise GraphError("register_hook: a hook wrote into the gradient, which others hold too; return a new one")
        if result is not None:
            if not isinstance(result, Array) or not same_shape(<Array> result, g) \
                    or (<Array> result).dtype_ != g.dtype_:
                raise ShapeError(f"register_hook: a hook returns None or a gradient of shape {shape_of(g)} and dtype "
                                 f"{dtype_of(g.dtype_)}, not {result!r}")
            g = <Array> result
    return g


cdef int accumulate(Node leaf, Array g, bint keep_graph) except -1:
    """leaf.grad += g. The buffer of ``g`` is taken over only where the walk is its sole owner."""
    cdef Array total, changed
    note_gradient(leaf, True)
    while True:
        total = <Array> leaf.grad
        if total is None:
            changed = g if is_owned(g) else apply(MGX_clone, g, None, None)
        elif not keep_graph and not total.needs_grad and total.node is None and total.contiguous \
                and not total.storage.readonly and same_shape(total, g):
            return add_into(total, g)
        else:
            changed = apply(MGX_add, total, g, None)
        if leaf.grad is total:                          # another thread may have walked here during a long launch
            leaf.grad = changed
            bump_gradients()
            return 0


cdef int add_into(Array total, Array g) except -1:
    cdef Operand operand[3]
    put_array(&operand[0], total)
    put_array(&operand[1], g)
    put_array(&operand[2], total)
    return elementwise(MGX_add, MGX_FORWARD, total.dtype_, 2, 1, operand, total.ndim, total.shape_)


cdef Array cotangent(str op, Array root, object gradient):
    """The gradient of ``root``, as the caller gave it, in the shape and dtype of ``root``; 1 where none is given."""
    cdef Array g
    if gradient is None:
        if root.size != 1:
            raise ShapeError(f"{op}: of a tensor of shape {shape_of(root)} needs gradient=; only a single number "
                             "needs none: make it one with mean() or sum()")
        g = empty_like(root)
        fill(g, 1)
        return g
    g = <Array> gradient if isinstance(gradient, Array) else from_object(gradient, dtype_of(root.dtype_), True)
    if not same_shape(g, root):
        raise ShapeError(f"{op}: gradient of shape {shape_of(g)} for a tensor of shape {shape_of(root)}")
    return g if g.dtype_ == root.dtype_ else convert(g, root.dtype_)


cdef int refuse_no_graph(str op, Array root) except -1:
    """Say why there is nothing to differentiate, and what to do."""
    if root.dtype_ > MGX_F64:
        raise GraphError(f"{op}: a tensor of {dtype_of(root.dtype_)} has no graph, only floats have gradients: start "
                         "from a cost, not from a comparison or an index")
    raise GraphError(f"{op}: this tensor does not require a gradient and has no graph: what it was made from requires "
                     "none, or was detached or computed by NumPy, or it was made under no_grad(). Set "
                     "requires_grad=True on the leaves before computing; a gradient has a graph only if "
                     "create_graph=True made it")


def backward(Array root not None, object gradient, bint retain_graph, bint create_graph):
    """The chain rule from ``root`` to its leaves."""
    if root.node is None or not root.needs_grad:
        refuse_no_graph("backward", root)
    walk(root.node, cotangent("backward", root, gradient), retain_graph, create_graph, None)


cdef enum:                      # what a node is to a walk with wanted nodes
    ARRIVES = 1, LEADS_ON = 2


cdef int walk(Node root, Array g, bint retain_graph, bint create_graph, dict wanted) except -1:
    """The chain rule from ``root``, whose gradient is ``g``, to its leaves.

    With ``wanted`` = {node: does the walk end there?} only the paths to these nodes are gone, their gradients take the
    places of the values, and no ``grad`` changes. Returns whether there is a freed node, behind which nothing is seen.
    """
    cdef Order order
    cdef PyObject **grads = NULL
    cdef Array dx
    cdef Node node = root
    cdef PyObject **parent
    cdef PyObject *held
    cdef Py_ssize_t i, to
    cdef char *lead = NULL
    cdef int32_t k, last
    cdef bint before, freed = False
    cdef Py_ssize_t offset
    offset = <char *> &node.v - <char *> <PyObject *> node
    topological(<PyObject *> node, offset, &order, NULL)
    before = set_grad_enabled(create_graph)
    try:
        grads = <PyObject **> calloc(order.count, sizeof(PyObject *))
        lead = <char *> calloc(order.count, 1)
        if grads == NULL or lead == NULL:
            free(grads)
            grads = NULL                                # nothing is held yet
            raise MemoryError(f"backward: no memory for a graph of {order.count} nodes")
        for i in range(order.count):
            Py_INCREF(<object> order.item[i])
        if wanted is not None:
            for i in range(order.count):
                node = <Node> order.item[i]
                freed = freed or node.v.op == OP_FREED
                if node in wanted:
                    lead[i] = ARRIVES
                    if wanted[node]:
                        continue
                parent = parents(&node.v)
                for k in range(node.v.count):
                    if parent[k] != NULL and lead[(<Node> parent[k]).v.slot]:
                        lead[i] |= LEADS_ON
        Py_INCREF(g)
        grads[order.count - 1] = <PyObject *> g
        for i in range(order.count - 1, -1, -1):
            if i & 31 == 31:                            # long launches look for signals themselves
                PyErr_CheckSignals()
            if grads[i] == NULL:
                continue
            node = <Node> order.item[i]
            g = <Array> grads[i]
            Py_DECREF(g)
            grads[i] = NULL
            if node.hooks is not None:
                g = run_hooks(node, g)
            if lead[i] & ARRIVES:
                wanted[node] = g
            if wanted is not None and not lead[i] & LEADS_ON:
                continue
            if node.v.op == OP_LEAF:
                accumulate(node, g, create_graph)
                continue
            check_freed(node)
            if node.retains and wanted is None:
                node.grad = g if create_graph else apply(MGX_clone, g, None, None)
            if node.v.count == 0:                       # an input of a transform: a constant to whoever is outside,
                continue                                # and many graphs may begin at it, so it is not freed with one
            parent, last = parents(&node.v), node.v.count - 1
            while last > 0 and parent[last] == NULL:
                last -= 1
            for k in range(last + 1):
                check_freed(node)                       # a hook, a finalizer or another thread may walk here meanwhile
                held = parents(&node.v)[k]
                if held == NULL:
                    continue
                to = (<Node> held).v.slot
                if to >= order.count or order.item[to] != held:         # another walk came by
                    renumber(&order, offset)
                    to = (<Node> held).v.slot
                if wanted is not None and not lead[to]:
                    continue
                if not (create_graph or recording_sites) and grads[to] != NULL and add_indexed(grads[to], node, g):
                    continue
                dx = apply_vjp_checked(node, g, k) if recording_sites else apply_vjp(node, g, k, k == last)
                if dx is None:
                    continue
                if dx.dtype_ != (<Node> order.item[to]).dtype or dx.size != (<Node> order.item[to]).size:
                    dx = cast_gradient(node, dx, <Node> order.item[to])
                if grads[to] != NULL:
                    held = grads[to]
                    grads[to] = NULL
                    dx = add_to_held(held, dx)
                    if dx.size != (<Node> order.item[to]).size:         # one of them had another shape
                        dx = cast_gradient(node, dx, <Node> order.item[to])
                Py_INCREF(dx)
                grads[to] = <PyObject *> dx
                dx = None
            forget_gradients(node)
            if not (retain_graph or create_graph or node.joint):
                node.free()
    finally:
        forget_gradients(node)
        set_grad_enabled(before)
        if grads != NULL:
            for i in range(order.count):
                Py_XDECREF(grads[i])
            node = None
            for i in range(order.count):
                release(order.item[i])
            free(grads)
        free(lead)
        free(order.item)
    return freed


cdef bint add_indexed(PyObject *held, Node node, Array g) except -1:
    """Add a gradient to the part of ``held`` that an index names: a part of n is then n additions, not all."""
    return is_owned(<Array> held) and index_add_into(<Array> held, node, g)


cdef Array add_to_held(PyObject *held, Array dx):
    """The reference ``held`` + dx; the reference is consumed."""
    cdef Array total = <Array> held
    Py_DECREF(total)
    return add_gradients(total, dx)
