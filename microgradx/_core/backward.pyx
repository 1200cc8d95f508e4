"""The backward pass over arrays: the walk of ``graph``, with a gradient at every node.

A vjp writes; a second contribution is one addition. What was broadcast gets one reduction. Leaves accumulate
into ``grad``; all other gradients belong to this one pass.
"""
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_DECREF, Py_XDECREF
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc

from microgradx._core.array cimport *
from microgradx._core.elementwise cimport apply, row_vjp
from microgradx._core.graph cimport Order, parents, release, set_grad_enabled, topological
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Operand, elementwise, fill
from microgradx._core.structured cimport sum_to
from microgradx._core.views cimport convert

from microgradx.errors import GraphError, ShapeError


cdef inline bint owned(Array g) noexcept:
    """Does nobody but the walk hold these bytes?"""
    return ((<PyObject *> g).ob_refcnt == 1 and g.storage.refs == 1 and g.storage.owner == NULL and g.node is None
            and g.contiguous)


cdef Array plus(Array total, Array g):
    """total + g; into the buffer of ``total`` if only the walk holds it and no graph is wanted."""
    if g.wants or total.wants or not owned(total) or not same_shape(total, g):
        return apply(MGX_add, total, g, None)
    add_into(total, g)
    return total


cdef Array local(Node node, Array g, int i):
    """The gradient for operand ``i`` of ``node``, in that operand's shape and dtype."""
    cdef Array dx, x
    if node.v.op == OP_STRUCTURED:
        return node.vjp(node, g, i)
    x = <Array> node.saved[i] if node.saved[i] != NULL else None
    dx = row_vjp(node, g, i)
    if x is None:
        return dx
    if not same_shape(x, dx):
        dx = sum_to(dx, x.ndim, x.dims)
    return dx if dx.kind == x.kind else convert(dx, x.kind)


cdef Array hooked(Node node, Array g):
    """Run the hooks of a node on its gradient; each may return another."""
    for hook in list(node.hooks.values()):
        version = g.storage.version
        result = hook(g)
        if g.storage.version != version:
            raise GraphError("register_hook: a hook wrote into the gradient, which others hold too; return a new one")
        if result is not None:
            if not isinstance(result, Array) or not same_shape(<Array> result, g) or (<Array> result).kind != g.kind:
                raise ShapeError(f"register_hook: a hook returns None or a gradient of shape {shape_of(g)} and dtype "
                                 f"{dtype_of(g.kind)}, not {result!r}")
            g = <Array> result
    return g


cdef int accumulate(Node leaf, Array g, bint keep_graph) except -1:
    """leaf.grad += g. The buffer of ``g`` is taken over only where the walk is its sole owner."""
    cdef Array total
    if leaf.grad is None:
        leaf.grad = g if owned(g) else apply(MGX_clone, g, None, None)
    elif keep_graph:
        leaf.grad = apply(MGX_add, leaf.grad, g, None)
    else:
        total = <Array> leaf.grad
        if total.wants or total.node is not None or not total.contiguous or total.storage.readonly:
            leaf.grad = apply(MGX_add, total, g, None)
        else:
            add_into(total, g)
    return 0


cdef int add_into(Array total, Array g) except -1:
    cdef Operand operand[3]
    operand[0].array = operand[2].array = <PyObject *> total
    operand[1].array = <PyObject *> g
    return elementwise(kernels.rows[total.kind][MGX_add].forward, total.kind, 2, 1, operand, total.ndim, total.dims)


cdef int check_freed(Node node) except -1:
    if node.v.op == OP_FREED:
        raise GraphError("backward: the graph was freed by an earlier backward(); keep it with "
                         "backward(retain_graph=True)")
    return 0


def backward(Array root not None, object gradient, bint retain_graph, bint create_graph):
    """The chain rule from ``root`` to its leaves."""
    cdef Order order
    cdef PyObject **grads = NULL
    cdef Array g, dx
    cdef Node node
    cdef PyObject **parent
    cdef PyObject *held
    cdef Py_ssize_t i, to, edges = 0
    cdef uint32_t *edge = NULL
    cdef Py_ssize_t *start = NULL
    cdef uint32_t k
    cdef bint before
    cdef Py_ssize_t offset
    if root.node is None or not root.wants:
        raise GraphError("backward: this tensor does not require a gradient and has no graph")
    if gradient is None:
        if root.size != 1:
            raise ShapeError(f"backward: of a tensor of shape {shape_of(root)} needs gradient=; only a single number "
                             "needs none")
        g = empty_like(root)
        fill(g, 1)
    else:
        g = <Array> gradient if isinstance(gradient, Array) else from_object(gradient, dtype_of(root.kind), True)
        if not same_shape(g, root):
            raise ShapeError(f"backward: gradient of shape {shape_of(g)} for a tensor of shape {shape_of(root)}")
        if g.kind != root.kind:
            g = convert(g, root.kind)
    node = root.node
    offset = <char *> &node.v - <char *> <PyObject *> node
    topological(<PyObject *> node, offset, &order, NULL)
    before = set_grad_enabled(create_graph)
    try:
        # a hook may start another walk over the same nodes, so the slots are read now
        for i in range(order.count):
            edges += (<Node> order.item[i]).v.count
        grads = <PyObject **> calloc(order.count, sizeof(PyObject *))
        edge = <uint32_t *> malloc((edges + 1) * sizeof(uint32_t))
        start = <Py_ssize_t *> malloc(order.count * sizeof(Py_ssize_t))
        if grads == NULL or edge == NULL or start == NULL:
            free(grads)
            grads = NULL                                # nothing is held yet
            raise MemoryError(f"backward: no memory for a graph of {order.count} nodes")
        edges = 0
        for i in range(order.count - 1, -1, -1):
            node = <Node> order.item[i]
            Py_INCREF(node)
            start[i] = edges
            parent = parents(&node.v)
            for k in range(node.v.count):
                edge[edges] = (<Node> parent[k]).v.slot if parent[k] != NULL else 0
                edges += 1
        Py_INCREF(g)
        grads[order.count - 1] = <PyObject *> g
        for i in range(order.count - 1, -1, -1):
            if i & 0xFFFF == 0xFFFF:
                PyErr_CheckSignals()
            if grads[i] == NULL:
                continue
            node = <Node> order.item[i]
            g = <Array> grads[i]
            Py_DECREF(g)
            grads[i] = NULL
            if node.hooks is not None:
                g = hooked(node, g)
            if node.v.op == OP_LEAF:
                accumulate(node, g, create_graph)
                continue
            check_freed(node)
            if node.retains:
                node.grad = g if create_graph else apply(MGX_clone, g, None, None)
            for k in range(node.v.count):
                check_freed(node)                       # a finalizer or another thread may walk here meanwhile
                if parents(&node.v)[k] == NULL:
                    continue
                dx = local(node, g, k)
                if dx is None:
                    continue
                to = edge[start[i] + k]
                if grads[to] != NULL:
                    held = grads[to]
                    grads[to] = NULL
                    dx = plus_held(held, dx)
                Py_INCREF(dx)
                grads[to] = <PyObject *> dx
                dx = None
            if not (retain_graph or create_graph):
                node.free()
    finally:
        set_grad_enabled(before)
        if grads != NULL:
            for i in range(order.count):
                Py_XDECREF(grads[i])
            node = None
            for i in range(order.count):
                release(order.item[i])
            free(grads)
        free(edge)
        free(start)
        free(order.item)


cdef Array plus_held(PyObject *held, Array dx):
    """The reference ``held`` + dx; the reference is consumed."""
    cdef Array total = <Array> held
    Py_DECREF(total)
    return plus(total, dx)
