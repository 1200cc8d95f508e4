"""The rows of the table over arrays: dtypes, broadcasting, recording, derivatives of every order."""
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_AsDouble, PyFloat_Check
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled, set_parents
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Operand, copy, elementwise, fill, host

import numpy as np

from microgradx.errors import DTypeError, ShapeError

# what integers and masks do by themselves, carried out by NumPy; any other operation makes them float32
cdef dict INTEGER = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.absolute,
                     "sign": np.sign, "square": np.square, "maximum": np.maximum, "minimum": np.minimum,
                     "remainder": np.remainder, "fmod": np.fmod, "floor": np.copy, "ceil": np.copy, "round": np.copy,
                     "trunc": np.copy, "clone": np.copy, "where": np.where, "clip": np.clip, "pow": np.power,
                     "relu": lambda x: np.maximum(x, 0), "gt": np.greater, "ge": np.greater_equal, "lt": np.less,
                     "le": np.less_equal, "eq": np.equal, "ne": np.not_equal}


cdef str name_of(int op):
    return rows[op].name.decode()


cdef int broadcast(int op, Array a, int *ndim, Py_ssize_t *shape, str suffix="") except -1:
    """Widen ``shape`` to hold ``a`` as well."""
    cdef int d, skip, grow = a.ndim - ndim[0]
    if grow > 0:
        for d in range(ndim[0] - 1, -1, -1):
            shape[d + grow] = shape[d]
        for d in range(grow):
            shape[d] = 1
        ndim[0] = a.ndim
    skip = ndim[0] - a.ndim
    for d in range(a.ndim):
        if a.dims[d] == shape[d + skip] or a.dims[d] == 1:
            continue
        if shape[d + skip] != 1:
            wide = tuple([shape[i] for i in range(ndim[0])])
            raise ShapeError(f"{name_of(op)}{suffix}: shapes {wide} and {shape_of(a)} do not broadcast "
                             f"({shape[d + skip]} != {a.dims[d]} at axis {d - a.ndim})")
        shape[d + skip] = a.dims[d]
    return 0


cdef object read_operand(int op, object o, Operand *to):
    """A tensor, a number, or what NumPy makes an array of; the caller keeps what is returned."""
    to.absent = False
    to.array = NULL
    if isinstance(o, Array):
        to.array = <PyObject *> o
        return o
    if PyFloat_Check(o) or PyLong_Check(o) or (isinstance(o, np.generic) and o.dtype.kind in "fiub"):
        to.number = PyFloat_AsDouble(o)
        return o
    if isinstance(o, (np.ndarray, list, tuple)):
        o = from_object(o, None, grad_enabled())                # a graph keeps numbers, not the user's buffer
        to.array = <PyObject *> o
        return o
    raise DTypeError(f"{name_of(op)}: a Tensor goes with Tensors, arrays and real numbers, not with {type(o).__name__}"
                     + (f" {o!r}" if isinstance(o, (str, complex)) else ""))


cdef Array apply(int op, object a, object b, object c):
    """The row ``op`` over tensors and numbers, recorded where a gradient is wanted."""
    cdef Operand operand[5]
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int arity = facts[op].arity, ndim = 0, dtype = -1, k, d
    cdef bint wants = False, stores, integers = False, fractions = False
    cdef Array x, y, slope
    cdef object o
    for k in range(arity):
        o = a if k == 0 else b if k == 1 else c
        if isinstance(o, Array):
            operand[k].array, operand[k].absent = <PyObject *> o, False
        elif PyFloat_Check(o):
            operand[k].array, operand[k].absent, operand[k].number = NULL, False, PyFloat_AS_DOUBLE(o)
            fractions = True
            continue
        else:
            o = read_operand(op, o, &operand[k])
            if operand[k].array == NULL:
                fractions = fractions or isinstance(o, np.floating)
                continue
            if k == 0:
                a = o
            elif k == 1:
                b = o
            else:
                c = o
        x = <Array> operand[k].array
        wants = wants or x.wants
        if ndim == 0 and k == 0:
            ndim = x.ndim
            for d in range(ndim):
                shape[d] = x.dims[d]
        else:
            broadcast(op, x, &ndim, shape)
        if op == MGX_where and k == 0:                          # the mask has no say in the dtype
            continue
        if x.kind > MGX_F64:
            integers = True
        elif dtype < x.kind:
            dtype = x.kind
    if dtype < 0:
        if integers and not fractions and name_of(op) in INTEGER:
            return integer(op, [a, b, c][:arity])
        dtype = MGX_F32
    y = empty(MGX_BOOL if facts[op].compares else dtype, ndim, shape)
    wants = wants and not facts[op].compares and grad_enabled()
    stores = wants and facts[op].stores
    operand[arity].array = <PyObject *> y
    if stores:
        slope = empty(dtype, ndim, shape)
        operand[arity + 1].array = <PyObject *> slope
        elementwise(kernels.rows[dtype][op].forward_d, dtype, arity, 2, operand, ndim, shape)
    else:
        slope = None
        elementwise(kernels.rows[dtype][op].forward, dtype, arity, 1, operand, ndim, shape)
    if wants:
        record(op, arity, operand, y, slope)
    return y


cdef Array integer(int op, list operands):
    """An operation on integers and masks: NumPy's rules, as a host launch."""
    cdef object result
    try:
        with np.errstate(all="ignore"):
            result = INTEGER[name_of(op)](*[np.asarray(o) if isinstance(o, Array) else o for o in operands])
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(f"{name_of(op)}: {error}") from None
    return from_object(result, None, True)


cdef int record(int op, int arity, Operand *operand, Array y, Array slope) except -1:
    """Give ``y`` a node that keeps what the backward pass of this row will read."""
    cdef Node node = Node.__new__(Node)
    cdef PyObject *parent[3]
    cdef int k, named = 0
    cdef Array x
    node.v.op = op
    for k in range(arity):
        x = <Array> operand[k].array if operand[k].array != NULL else None
        parent[k] = node_pointer(x)
        if parent[k] != NULL:
            named |= facts[op].names[k]
            if not same_shape(x, y) or x.kind != y.kind:      # its gradient must find back to it
                named |= 1 << k
    for k in range(arity):
        if operand[k].array == NULL:
            node.scalar[k] = operand[k].number
        elif named & 1 << k or slope is not None:
            node.save(k, <Array> operand[k].array)
    if slope is not None:
        node.save(3, slope)
    elif named & 8:
        node.save(3, detached(y))
    set_parents(&node.v, arity, parent)
    y.node, y.wants = node, True
    return 0


def integer_into(out, x, function):
    np.copyto(out, function(out, x), casting="same_kind")


cdef int apply_into(int op, Array out, object b) except -1:
    """out = op(out, b) in place, recorded where a gradient is wanted."""
    cdef Operand operand[3]
    cdef Array x, before = None
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d, ndim = out.ndim
    cdef bint wants
    cdef str name = name_of(op) + "_"
    check_write(out, name)
    b = read_operand(op, b, &operand[1])
    x = <Array> operand[1].array if operand[1].array != NULL else None
    for d in range(ndim):
        shape[d] = out.dims[d]
    if x is not None:
        broadcast(op, x, &ndim, shape, "_")
        if ndim != out.ndim or any([shape[d] != out.dims[d] for d in range(ndim)]):
            raise ShapeError(f"{name}: shape {shape_of(x)} does not broadcast to {shape_of(out)}")
        if x.kind < MGX_I64 and x.kind > out.kind and x.ndim:
            raise DTypeError(f"{name}: a result of dtype {dtype_of(x.kind)} cannot be stored as {dtype_of(out.kind)}")
    if out.kind > MGX_F64:
        if name_of(op) not in INTEGER or (x is None and isinstance(b, (float, np.floating))) \
                or (x is not None and x.kind < out.kind):
            raise DTypeError(f"{name}: the result is not stored as {dtype_of(out.kind)}")
        return host(integer_into, (out,), (b, INTEGER[name_of(op)]))
    wants = grad_enabled() and (out.wants or (x is not None and x.wants))
    if x is not None and x.storage == out.storage and (wants or not (
            x.data == out.data and same_shape(x, out) and x.contiguous and out.contiguous)):
        x = apply(MGX_clone, x, None, None)                     # what is about to be overwritten
        operand[1].array = <PyObject *> x
    operand[0].array, operand[0].absent = <PyObject *> out, False
    operand[2].array = <PyObject *> out
    if wants:
        if x is not None and x.wants:
            check_shared(out, name)
        before = detached(out)
        if (facts[op].names[0] | facts[op].names[1]) & 1:       # a derivative names what is overwritten
            before = empty_like(out)
            copy(out, before)
        before.node, before.wants = out.node, out.wants
    elementwise(kernels.rows[out.kind][op].forward, out.kind, 2, 1, operand, ndim, shape)
    if wants:
        operand[0].array = <PyObject *> before
        record(op, 2, operand, out, None)
    return 0


# ----- derivatives -------------------------------------------------------------------------------------------

cdef Array row_vjp(Node node, Array g, int i):
    """chain(g, derivative i), in the shape of ``g``."""
    cdef int op = node.v.op, arity = facts[op].arity, k
    cdef Operand operand[6]
    cdef Array dx, kept
    if grad_enabled():
        dx = symbolic_vjp(node, g, i)
    elif facts[op].identity[i]:
        dx = g
    elif facts[op].stores:
        dx = empty_like(g)
        operand[0].array = <PyObject *> g
        kept = node.load(3)
        operand[1].array = <PyObject *> kept
        operand[2].array = <PyObject *> dx
        elementwise(kernels.rows[g.kind][MGX_chain].forward, g.kind, 2, 1, operand, g.ndim, g.dims)
    else:
        dx = empty_like(g)
        operand[0].array = <PyObject *> g
        for k in range(arity):
            operand[k + 1].array = NULL
            operand[k + 1].absent = not facts[op].names[i] & 1 << k
            operand[k + 1].number = node.scalar[k]
            if node.saved[k] != NULL and not operand[k + 1].absent:
                kept = node.load(k)                             # `node` keeps it alive
                operand[k + 1].array = <PyObject *> kept
        k = arity + 1
        operand[k].array = NULL
        operand[k].absent = not facts[op].names[i] & 8
        if not operand[k].absent:
            kept = node.load(3)
            operand[k].array = <PyObject *> kept
        operand[k + 1].array = <PyObject *> dx
        elementwise(kernels.rows[g.kind][op].vjp[i], g.kind, k + 1, 1, operand, g.ndim, g.dims)
    return dx


def _word(int op):
    """The row ``op`` as a word of a derivative's text."""
    return lambda a, b=None, c=None: apply(op, a, b, c)


cdef Array constant(double number, int kind):
    """A number as a tensor, so that a text made of numbers alone keeps the dtype and follows IEEE."""
    cdef Array a = empty(kind, 0, NULL)
    fill(a, number)
    return a


def _words(int kind):
    """What a derivative's text may call, for one dtype."""
    cdef int op
    words = {rows[op].name.decode(): _word(op) for op in range(MGX_NROWS)}
    known = {}

    def K(c):
        if c not in known:
            known[c] = constant(c, kind)
        return known[c]
    return words | {"K": K}


cdef list vocabulary = [None, None]
cdef dict texts = {}


cdef Array symbolic_vjp(Node node, Array g, int i):
    """As row_vjp, recorded: the text of the derivative is read by Python over tensors."""
    cdef int op = node.v.op, k
    cdef list values = []
    cdef Array y = None
    cdef object text
    if facts[op].identity[i]:
        return g
    text = texts.get((op, i, g.kind))
    if text is None:
        if vocabulary[g.kind] is None:
            vocabulary[g.kind] = _words(g.kind)
        source = rows[op].derivative[i].decode()
        text = texts[op, i, g.kind] = eval(
            compile(f"lambda x, b, c, y, a: {source}", f"<derivative of {name_of(op)}>", "eval"), vocabulary[g.kind])
    for k in range(3):
        if not facts[op].names[i] & 1 << k:
            values.append(None)
        elif node.saved[k] != NULL:
            values.append(node.load(k))
        else:
            values.append(constant(node.scalar[k], g.kind))
    if facts[op].names[i] & 8:
        y = detached(node.load(3))
        y.node, y.wants = node, True
    return apply(MGX_chain, g, text(values[0], values[1], values[2], y, values[0]), None)
