"""The rows of the table over arrays: dtypes, broadcasting, recording, derivatives of every order."""
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_AsDouble, PyFloat_Check
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from microgradx._core cimport ops
from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled, set_parents
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport *
from microgradx._core.capture.number cimport SymbolicFloat

import ast

import numpy as np

from microgradx.errors import DTypeError, ShapeError, described

# what integers and masks do by themselves, carried out by NumPy; any other operation makes them float32
cdef dict INTEGER = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.absolute,
                     "sign": lambda x: np.copy(x) if x.dtype == np.bool_ else np.sign(x), "square": np.square,
                     "maximum": np.maximum, "minimum": np.minimum, "remainder": np.remainder, "fmod": np.fmod,
                     "floor": np.copy, "ceil": np.copy, "round": np.copy, "trunc": np.copy, "clone": np.copy,
                     "where": np.where, "clip": np.clip, "pow": np.power,
                     "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6), "hardtanh": np.clip,
                     "threshold": lambda x, threshold, value: np.where(x > threshold, x, value), "gt": np.greater,
                     "ge": np.greater_equal, "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal}


cdef str name_of(int op):
    return rows[op].name.decode()


cdef int broadcast(int op, Array a, int *ndim, Py_ssize_t *shape, str suffix="") except -1:
    """Widen ``shape`` to hold ``a`` as well."""
    cdef const Py_ssize_t *lengths = a.shape_
    cdef int d, skip, grow = a.ndim - ndim[0]
    if grow > 0:
        for d in range(ndim[0] - 1, -1, -1):
            shape[d + grow] = shape[d]
        for d in range(grow):
            shape[d] = 1
        ndim[0] = a.ndim
    skip = ndim[0] - a.ndim
    for d in range(a.ndim):
        if lengths[d] == shape[d + skip] or lengths[d] == 1:
            continue
        if shape[d + skip] != 1:
            wide = tuple([shape[i] for i in range(ndim[0])])
            raise ShapeError(f"{name_of(op)}{suffix}: shapes {wide} and {shape_of(a)} do not broadcast "
                             f"({shape[d + skip]} != {a.shape_[d]} at axis {d - a.ndim})")
        shape[d + skip] = lengths[d]
    return 0


cdef object read_operand(int op, object o, Operand *to):
    """A tensor, a number, or what NumPy makes an array of; the caller keeps what is returned."""
    if is_array(<PyObject *> o):
        put_array(to, <Array> o)
    elif PyFloat_Check(o) or PyLong_Check(o) or (isinstance(o, np.generic) and o.dtype.kind in "fiub"):
        put_number(to, PyFloat_AsDouble(o))
    elif isinstance(o, SymbolicFloat):
        put_array(to, (<SymbolicFloat> o).array)
    elif isinstance(o, (np.ndarray, list, tuple)):
        o = from_object(o, None, grad_enabled())                # a graph keeps numbers, not the user's buffer
        put_array(to, <Array> o)
    else:
        raise DTypeError(f"{name_of(op)}: a Tensor goes with Tensors, arrays and real numbers, not with "
                         f"{described(o)}" + (f" {o!r}" if isinstance(o, (str, complex)) else ""))
    return o


cdef Array apply(int op, object a, object b, object c):
    """The row ``op`` over tensors and numbers, recorded where a gradient is wanted."""
    cdef Facts *row = &facts[op]
    cdef Operand operand[5]
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int ndim = -1, dtype = -1, k, d
    cdef bint needs_grad = False, integers = False, fractions = False
    cdef PyObject *o
    cdef PyObject *x
    cdef Array y
    cdef Storage *derivative = NULL
    cdef char *data = NULL
    cdef object held = None                                     # what was made of lists and arrays
    for k in range(row.arity):
        o = <PyObject *> a if k == 0 else <PyObject *> b if k == 1 else <PyObject *> c
        if is_array(o):
            put_array(&operand[k], <Array> o)
        elif PyFloat_Check(<object> o):
            put_number(&operand[k], PyFloat_AS_DOUBLE(<object> o))
            fractions = True
            continue
        else:
            held = (held, read_operand(op, <object> o, &operand[k]))
            if operand[k].form == NUMBER:
                fractions = fractions or isinstance(<object> o, np.floating)
                continue
            if isinstance(<object> o, SymbolicFloat):                  # as weak as the number that it is
                fractions = True
                continue
        x = operand[k].array
        needs_grad |= (<Array> x).needs_grad
        if ndim < 0:
            ndim = (<Array> x).ndim
            for d in range(ndim):
                shape[d] = (<Array> x).shape_[d]
        else:
            broadcast(op, <Array> x, &ndim, shape)
        if op == MGX_where and k == 0:                          # the mask has no say in the dtype
            continue
        if (<Array> x).dtype_ > MGX_F64:
            integers = True
        elif dtype < (<Array> x).dtype_:
            dtype = (<Array> x).dtype_
    if dtype < 0:
        if (integers or op == MGX_where) and (not fractions or row.compares) and name_of(op) in INTEGER:
            return apply_integer(op, [a, b, c][:row.arity])
        dtype = default_float
    needs_grad = needs_grad and not row.compares and grad_enabled()
    if needs_grad and row.stores:
        y = empty_with_derivative(dtype, ndim, shape, &derivative, &data)
        put_bytes(&operand[2], derivative, data)            # such a row has one operand
        put_array(&operand[1], y)
        elementwise(op, MGX_FORWARD_D, dtype, 1, 2, operand, ndim, shape)
    else:
        y = empty(MGX_BOOL if row.compares else dtype, ndim, shape)
        put_array(&operand[row.arity], y)
        elementwise(op, MGX_FORWARD, dtype, row.arity, 1, operand, ndim, shape)
    if needs_grad:
        record(op, operand, y, derivative, data)
    return y


ops.on_tensors = <ops.Apply> apply


cdef Array apply_integer(int op, list operands):
    """An operation on integers and masks: NumPy's rules, as a host launch."""
    try:
        return compute_on_host(INTEGER[name_of(op)], tuple(operands))
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(f"{name_of(op)}: {error}") from None


cdef inline bint is_whole(Array x, Array y) noexcept:
    """Has ``x``, which broadcasts to the shape of ``y``, that shape?"""
    return x.size == y.size and x.ndim == y.ndim and (y.size > 0 or same_shape(x, y))


cdef int record(int op, Operand *operand, Array y, Storage *derivative, char *data) except -1:
    """Give ``y`` a node that keeps what the backward pass of this row will read. ``derivative`` becomes the node's. No
    Python code runs meanwhile: making a node holds the collector."""
    cdef Facts *row = &facts[op]
    cdef Node node = new_node(op, y)
    cdef PyObject *parent[3]
    cdef PyObject *x
    cdef int k, named = 0
    cdef bint by_address, reads
    for k in range(row.arity):
        if operand[k].form == ARRAY and (<Array> operand[k].array).needs_grad:
            named |= row.names[k]
    for k in range(row.arity):
        parent[k] = NULL
        if operand[k].form == NUMBER:
            node.scalar[k] = operand[k].number
            continue
        x = operand[k].array
        by_address = (<Array> x).contiguous and (<Array> x).dtype_ == y.dtype_ and is_whole(<Array> x, y)
        reads = named & 1 << k or derivative != NULL
        if (<Array> x).needs_grad:
            parent[k] = <PyObject *> (<Array> x).node if (<Array> x).node is not None else node_pointer(<Array> x)
            reads = reads or not by_address                     # its gradient needs the shape and dtype of the operand
        if not reads:
            continue
        node.version[k] = (<Array> x).storage.version
        if by_address:
            node.saved[k], node.saved_data[k] = (<Array> x).storage, (<Array> x).data
            (<Array> x).storage.refs += 1
        else:
            node.saved[k] = x
            Py_INCREF(<object> x)
    if derivative != NULL:
        node.saved[3], node.saved_data[3], node.version[3] = derivative, data, derivative.version
    elif named & 8:
        node.saved[3], node.saved_data[3], node.version[3] = y.storage, y.data, y.storage.version
        y.storage.refs += 1
    set_parents(&node.v, row.arity, parent)
    y.node, y.needs_grad = node, True
    return 0


def integer_into(out, x, function):
    np.copyto(out, function(out, x), casting="same_kind")


cdef int apply_into(int op, Array out, object b) except -1:
    """out = op(out, b) in place, recorded where a gradient is wanted."""
    cdef Operand operand[3]
    cdef Array x, before = None
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d, ndim = out.ndim
    cdef bint needs_grad, kept
    cdef str name = name_of(op) + "_"
    b = read_operand(op, b, &operand[1])
    x = <Array> operand[1].array if operand[1].form == ARRAY else None
    for d in range(ndim):
        shape[d] = out.shape_[d]
    if x is not None:
        broadcast(op, x, &ndim, shape, "_")
        if ndim != out.ndim or any([shape[d] != out.shape_[d] for d in range(ndim)]):
            raise ShapeError(f"{name}: shape {shape_of(x)} does not broadcast to {shape_of(out)}")
        if x.dtype_ < MGX_I64 and x.dtype_ > out.dtype_ and x.ndim:
            raise DTypeError(f"{name}: a result of dtype {dtype_of(x.dtype_)} cannot be stored as "
                             f"{dtype_of(out.dtype_)}")
    check_write(out, name)
    if out.dtype_ > MGX_F64:
        if name_of(op) not in INTEGER or (x is None and isinstance(b, (float, np.floating))) \
                or (x is not None and x.dtype_ < out.dtype_):
            raise DTypeError(f"{name}: the result is not stored as {dtype_of(out.dtype_)}")
        try:
            return host(integer_into, (out,), (b, INTEGER[name_of(op)]))
        except (OverflowError, TypeError) as error:
            raise DTypeError(f"{name}: the result is not stored as {dtype_of(out.dtype_)}: {error}") from None
    needs_grad = grad_enabled() and (out.needs_grad or (x is not None and x.needs_grad))
    if x is not None and share_memory(x, out) and (needs_grad or not (
            x.data == out.data and same_shape(x, out) and x.contiguous and out.contiguous)):
        x = apply(MGX_clone, x, None, None)                     # what is about to be overwritten
        put_array(&operand[1], x)
    put_array(&operand[0], out)
    put_array(&operand[2], out)
    if needs_grad:
        if x is not None and x.needs_grad:
            check_shared(out, name)
        kept = (facts[op].names[0] | facts[op].names[1]) & 1    # does a derivative name what is overwritten?
        before = empty_like(out) if kept else detached(out)
        if kept:
            copy(out, before)
        before.node, before.needs_grad = out.node, out.needs_grad
        bump_world(out)
    elementwise(op, MGX_FORWARD, out.dtype_, 2, 1, operand, ndim, shape)
    if needs_grad:
        put_array(&operand[0], before)
        record(op, operand, out, NULL, NULL)
    return 0


# ----- derivatives -------------------------------------------------------------------------------------------

cdef int put_saved_operand(Operand *o, Node node, int k) except -1:
    node.check(k)
    if node.saved_data[k] != NULL:
        put_bytes(o, <Storage *> node.saved[k], node.saved_data[k])
    else:
        put_array(o, <Array> node.saved[k])
    return 0


cdef Array row_vjp(Node node, Array g, int i, bint over):
    """mul_no_nan(g, derivative i), in the shape of ``g``; written over ``g`` if the caller needs it no more."""
    cdef int op = node.v.op, which = op, part = MGX_VJP0 + i, k, reads
    cdef Facts *row = &facts[op]
    cdef Operand operand[6]
    cdef Array dx
    if grad_enabled():
        return symbolic_vjp(node, g, i)
    if row.identity[i]:
        return g
    dx = g if over else empty(g.dtype_, g.ndim, g.shape_)
    check_freed(node)                           # from here to the launch nobody else runs
    put_array(&operand[0], g)
    if row.stores:
        put_bytes(&operand[1], <Storage *> node.saved[3], node.saved_data[3])
        k, which, part = 2, MGX_mul_no_nan, MGX_FORWARD
    else:
        reads = row.names[i]
        for k in range(row.arity):
            if not reads & 1 << k:
                operand[k + 1].form = ABSENT
            elif node.saved[k] != NULL:
                put_saved_operand(&operand[k + 1], node, k)
            else:
                put_number(&operand[k + 1], node.scalar[k])
        k = row.arity + 1
        operand[k].form = ABSENT
        if reads & 8:
            put_saved_operand(&operand[k], node, 3)
        k += 1
    put_array(&operand[k], dx)
    elementwise(which, part, g.dtype_, k, 1, operand, g.ndim, g.shape_)
    return dx


def _word(int op):
    """The row ``op`` as a word of a derivative's text."""
    return lambda a, b=None, c=None: apply(op, a, b, c)


cdef Array constant_tensor(double number, int dtype):
    """A number as a tensor, so that a text made of numbers alone keeps the dtype and follows IEEE."""
    cdef Array a = empty(dtype, 0, NULL)
    fill(a, number)
    return a


def _words(int dtype):
    """What a derivative's text may call, for one dtype."""
    cdef int op
    words = {rows[op].name.decode(): _word(op) for op in range(MGX_NROWS)}
    known = {}

    def K(c):
        if c not in known:
            known[c] = constant_tensor(c, dtype)
        return known[c]
    return words | {"K": K}


def _times(str derivative):
    """The text of the gradient g times a derivative. Where that is a where() with NONE in it the choice is made between
    products: what is not chosen gets no gradient, and in the next order none comes from there.

    >>> from microgradx._core.elementwise import _times
    >>> _times("where(y <= K(0), NONE, K(1))"), _times("K(2)*x")
    ('where(y <= K(0), K(0), g)', 'mul_no_nan(g, K(2) * x)')
    """
    def product(node):
        match node:
            case ast.Call(ast.Name("where"), [condition, a, b]) if "NONE" in ast.unparse(node):
                return f"where({ast.unparse(condition)}, {product(a)}, {product(b)})"
            case ast.Name("NONE"):
                return "K(0)"
            case ast.Call(ast.Name("K"), [ast.Constant(1)]):
                return "g"
        return f"mul_no_nan(g, {ast.unparse(node)})"
    return "mul_no_nan(K(0), g)" if derivative == "NONE" else product(ast.parse(derivative, mode="eval").body)


cdef list vocabulary = [None, None]
cdef dict texts = {}


cdef Array symbolic_vjp(Node node, Array g, int i):
    """As row_vjp, recorded: the text of the derivative is read by Python over tensors."""
    cdef int op = node.v.op, k
    cdef list values = []
    cdef Array x, y = None
    cdef object text
    if facts[op].identity[i]:
        return g
    text = texts.get((op, i, g.dtype_))
    if text is None:
        if vocabulary[g.dtype_] is None:
            vocabulary[g.dtype_] = _words(g.dtype_)
        source = rows[op].derivative[i].decode()
        try:                                                        # Python's compiler may give nothing without memory
            if op == MGX_mul_no_nan and i == 1:     # 0 where a is 0, whatever g; yet there a function of a of slope g
                source = "mul_no_nan(where(g - g == K(0), g, where(a == K(0), K(0), g)), a)"
            else:
                source = _times(source)
            arguments = f"lambda g, x, b, c, y, a: {source}", f"<derivative of {name_of(op)}>", "eval"
            source = compile(*arguments)                            # a call that looks whether there is a result
        except SystemError as error:
            raise_without_memory(error)
        text = texts[op, i, g.dtype_] = eval(source, vocabulary[g.dtype_])
    for k in range(3):
        if not facts[op].names[i] & 1 << k:
            values.append(None)
        elif node.saved[k] != NULL:
            x = rebuild_saved(node, k, g)
            if x.ndim == 0 and x.dtype_ != g.dtype_ and not x.needs_grad:        # a number that moves
                y = empty(g.dtype_, 0, NULL)
                copy(x, y)
                x, y = y, None
            values.append(x)
        else:
            check_freed(node)
            values.append(constant_tensor(node.scalar[k], g.dtype_))
    check_freed(node)
    if facts[op].names[i] & 8:
        y = rebuild_saved(node, 3, g)
    return text(g, values[0], values[1], values[2], y, values[0])
