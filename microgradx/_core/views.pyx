"""Structured operations that move numbers without changing them: views, indexing, joining, conversion.

Each is one block: what it does to shapes, the forward, the vjp. A vjp is written in operations, so every order
of derivative follows. Indices of integers along one axis are a kernel's. Masks and several integer arrays go to
NumPy: it knows the rules, and a host launch carries them out.
"""
from cpython.number cimport PyNumber_AsSsize_t
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    ctypedef struct PySliceObject:
        PyObject *start
        PyObject *stop
        PyObject *step
    bint PyLong_CheckExact(PyObject *) noexcept
    bint PySlice_Check(PyObject *) noexcept
    int PySlice_Unpack(PyObject *, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) noexcept
    Py_ssize_t PySlice_AdjustIndices(Py_ssize_t length, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t step) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *, int *overflow) noexcept
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t) noexcept
    Py_ssize_t PyTuple_GET_SIZE(object) noexcept
    void PyErr_Clear() noexcept

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled
from microgradx._core.elementwise cimport apply
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport (Call, LaunchList, Operand, bump_world, compute_on_host, copy, elementwise, fill,
                                      format_call_site, host, is_capturing, launch, note_as_it_is, put,
                                      put_array, raise_without_memory, set_recording)

from operator import getitem

import numpy as np

from microgradx._core.launch import composite
from microgradx.errors import DTypeError, GraphError, IndexError_, ShapeError


cdef Py_ssize_t integer(str op, str what, object number) except? -1:
    """``number``, which is ``what``, as an integer."""
    try:
        return PyNumber_AsSsize_t(number, OverflowError)
    except TypeError:
        raise DTypeError(f"{op}: {what} is an integer, not {number!r}") from None
    except OverflowError:
        raise ShapeError(f"{op}: {what} has at most 63 bits, not {number!r}") from None


cdef double real(str op, str what, object number) except? -1:
    """``number``, which is ``what``, as a double."""
    if isinstance(number, Array) and (<Array> number).needs_grad:
        raise GraphError(f"{op}: {what} is a plain number, which takes no part in the graph; float(t) or t.detach() is "
                         "one where no gradient is wanted")
    try:
        return float(number)
    except (TypeError, ValueError):
        raise DTypeError(f"{op}: {what} is a real number, not {number!r}") from None


cpdef int axis_of(str op, object axis, int ndim) except -1:
    """An axis as a number from 0 to ndim - 1; of an array without axes 0, as if it were one element along an axis."""
    cdef Py_ssize_t d = integer(op, "an axis", axis)
    cdef int count = max(ndim, 1)
    if not -count <= d < count:
        raise ShapeError(f"{op}: axis {d} of an array with {ndim} axes")
    return d + count if d < 0 else d


# ----- contiguous, astype: same shape -------------------------------------------------------------------------

cdef Array contiguous(Array x):
    return x if x.contiguous else apply(MGX_clone, x, None, None)


cdef Array convert(Array x, int dtype):
    """Another dtype. The gradient is converted back."""
    cdef Array out = empty(dtype, x.ndim, x.shape_)
    copy(x, out)
    if dtype <= MGX_F64:
        record_structured(out, b"astype", convert_vjp, x.dtype_, x)
    return out

cdef object convert_vjp(Node node, Array g, int i):
    return convert(g, node.args)


cdef Array as_contiguous(Array x):
    """The numbers of ``x`` lying in order, without a graph."""
    cdef Array out
    if x.contiguous:
        return x
    out = empty_like(x)
    copy(x, out)
    return out


# ----- reshape: any shape of the same size --------------------------------------------------------------------

cdef bint find_strides(Array x, int ndim, const Py_ssize_t *shape, Py_ssize_t *strides):
    """The strides by which ``x`` has another shape; False if only a copy can have it."""
    cdef Py_ssize_t length = 1, stride = 0      # what is left of a run of axes that are one axis in memory
    cdef int d, axis = x.ndim
    for d in range(ndim - 1, -1, -1):
        if shape[d] == 1:
            strides[d] = itemsize[x.dtype_]
            continue
        while length == 1:
            axis -= 1
            length, stride = x.shape_[axis], x.strides_[axis]
        while axis and (x.shape_[axis - 1] == 1 or x.strides_[axis - 1] == stride * length):
            axis -= 1
            length *= x.shape_[axis]
        if length % shape[d]:
            return False
        strides[d] = stride
        stride *= shape[d]
        length //= shape[d]
    return True


cdef Array reshape(Array x, int ndim, const Py_ssize_t *shape):
    """A view where there are strides for it, else a view of a copy."""
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef Py_ssize_t stride
    cdef int d
    cdef Array out
    if x.contiguous or not x.size or not find_strides(x, ndim, shape, strides):
        x = contiguous(x)
        stride = itemsize[x.dtype_]
        for d in range(ndim - 1, -1, -1):
            strides[d] = stride
            stride *= shape[d] if x.size else 1
    out = view_of(x, x.data, ndim, shape, strides)
    record_structured(out, b"reshape", reshape_vjp, shape_of(x) if x.needs_grad else None, x)
    return out

cdef Array as_line(Array x):
    """A view with one axis."""
    return reshape(x, 1, &x.size)


cdef Array as_point(Array x):
    """A view of one element without its axes."""
    return reshape(x, 0, NULL)

cdef object reshape_vjp(Node node, Array g, int i):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    for d in range(len(node.args)):
        shape[d] = node.args[d]
    return reshape(g, len(node.args), shape)


# ----- permute: out.shape_[d] = x.shape_[axes[d]] ---------------------------------------------------------------

cdef Array permute(Array x, const int *axes):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef int d
    cdef Array out
    for d in range(x.ndim):
        shape[d], strides[d] = x.shape_[axes[d]], x.strides_[axes[d]]
    out = view_of(x, x.data, x.ndim, shape, strides)
    if x.needs_grad:
        record_structured(out, b"permute", permute_vjp, tuple([axes[d] for d in range(x.ndim)]), x)
    return out

cdef object permute_vjp(Node node, Array g, int i):
    cdef int inverse[MGX_MAXDIM]
    cdef int d
    for d in range(g.ndim):
        inverse[node.args[d]] = d
    return permute(g, inverse)


# ----- index: x[key]; a view for basic keys, a copy where an array is among them ------------------------------

cdef tuple normalize_key(object key):
    """A key as a tuple in NumPy's terms; arrays among it are copied, for a graph may keep them. While a program is
    captured a tensor stays a tensor, a copy: its numbers are those of each replay."""
    return tuple([normalize_key_part(k) for k in key]) if isinstance(key, tuple) else (normalize_key_part(key),)


cdef object normalize_key_part(object key):
    if isinstance(key, Array) and is_capturing():
        if (<Array> key).dtype_ == MGX_BOOL:
            note_as_it_is(f"a mask{format_call_site()} picks a number of elements that a captured program cannot know; "
                          "use where, masked_fill, or a product with the mask")
        else:
            return copy_index(<Array> key)
    if isinstance(key, (Array, np.ndarray)):
        return np.array(key)
    if isinstance(key, (list, tuple)):
        try:
            return np.array(key) if key else np.zeros(0, np.int64)
        except ValueError as error:
            raise IndexError_(f"index: {error}") from None
    return key


def _take(x, *key):
    return x[key]


cdef bint has_tensor(tuple key):
    """Is a tensor among the key, whose numbers are known when it is used?"""
    for k in key:
        if isinstance(k, Array):
            return True
    return False


cdef int GATHER = kernel_row("gather"), SCATTER_ADD = kernel_row("scatter_add")
cdef Py_ssize_t DRIFTING = 1 << 14             # so many floats are summed in double, as by csrc/kernels.def


cdef Array put_index(Call *call, Array x, int axis, Array at):
    """The lengths of a launch by indices ``at`` along an axis of ``x``, and the array in which they lie in order: one
    for all that is the same along the other axes, as an expanded one is, or an index for each element."""
    cdef bint shared = at.strides_[axis] == sizeof(int64_t) or at.shape_[axis] == 1
    cdef int d
    call.args.n[0], call.args.n[1], call.args.n[2], call.args.n[3] = 1, x.shape_[axis], at.shape_[axis], 1
    for d in range(x.ndim):
        if d != axis:
            shared = shared and (at.strides_[d] == 0 or at.shape_[d] == 1)
            call.args.n[0 if d < axis else 3] *= x.shape_[d]
    call.args.n[4] = shared
    return at if shared else as_contiguous(at)


cdef Array pick(Array x, int axis, Array at):
    """``x`` at the indices along ``axis``, whose other axes are as long as those of x; not recorded. None if an index
    is out of range."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Array out
    cdef Call call
    memcpy(shape, x.shape_, x.ndim * sizeof(Py_ssize_t))
    shape[axis] = at.shape_[axis]
    out = empty(x.dtype_, x.ndim, shape)
    if out.size:
        x, at = as_contiguous(x), put_index(&call, x, axis, at)
        call.count = 0
        put(&call, x)
        put(&call, at)
        put(&call, out)
        if launch(&call, GATHER, x.dtype_) >= 0:
            return None
    return out


cdef bint add_at(Array x, int axis, Array at, Array out) except -1:
    """out += x at the indices along ``axis``. False if one is out of range."""
    cdef Call call
    if x.size:
        x, at = as_contiguous(x), put_index(&call, out, axis, at)
        call.count = 0
        put(&call, at)
        put(&call, x)
        put(&call, out)
        return launch(&call, SCATTER_ADD, out.dtype_) < 0
    return True


def _onehot_of(at, n, shared, shape):
    """1 where y (n) has what x (m) is at, for each index of at (outer, m, inner)."""
    at = np.asarray(at)
    at = np.broadcast_to(at[None, :, None] if shared else at, shape)
    return np.where(at < 0, at + n, at)[:, None] == np.arange(n)[:, None, None]


@composite("gather")
def _gather_composite(x, at, *, outer, n, m, inner, shared, **sizes):
    onehot = _onehot_of(at, n, shared, (outer, m, inner))
    return type(x)(np.where(onehot, x.numpy()[:, :, None], 0).sum(1))


@composite("scatter_add")
def _scatter_add_composite(at, x, y, *, outer, n, m, inner, shared, **sizes):
    onehot = _onehot_of(at, n, shared, (outer, m, inner))
    return y + type(x)(np.where(onehot, x.numpy()[:, None], 0).sum(2))


# ----- parts: what integers, slices, None and ... name, in one pass ---------------------------------------------

cdef struct Part:
    char *data
    int ndim
    Py_ssize_t shape[MGX_MAXDIM]
    Py_ssize_t strides[MGX_MAXDIM]


cdef inline bint is_bound(PyObject *o) noexcept:
    """Is it a bound of a slice that runs no code of the user's: None or an int?"""
    return o == <PyObject *> None or PyLong_CheckExact(o)


cdef bint find_part(Array x, object key, Part *part) noexcept:
    """The part of ``x`` that the key names. False for a key that has anything else in it, and for one that names no
    part: NumPy says why."""
    cdef bint many = type(key) is tuple
    cdef Py_ssize_t count = PyTuple_GET_SIZE(key) if many else 1, i, start, stop, step, length
    cdef int axis = 0, named = 0, dots = 0, overflow = 0
    cdef PyObject *k
    for i in range(count):
        k = PyTuple_GET_ITEM(key, i) if many else <PyObject *> key
        if k == <PyObject *> Ellipsis:
            dots += 1
        elif PyLong_CheckExact(k) or PySlice_Check(k):
            named += 1
        elif k != <PyObject *> None:
            return False
    if dots > 1 or named > x.ndim:
        return False
    part.data, part.ndim = x.data, 0
    for i in range(count + 1 - dots):           # at the end stands ..., if it does nowhere else
        k = <PyObject *> Ellipsis if i == count else PyTuple_GET_ITEM(key, i) if many else <PyObject *> key
        if k == <PyObject *> Ellipsis:
            for _ in range(x.ndim - named):
                if not add_axis(part, x.shape_[axis], x.strides_[axis]):
                    return False
                axis += 1
        elif k == <PyObject *> None:
            if not add_axis(part, 1, 0):
                return False
        elif PyLong_CheckExact(k):
            start, length = PyLong_AsLongLongAndOverflow(k, &overflow), x.shape_[axis]
            start += length if start < 0 else 0
            if overflow or not 0 <= start < length:
                return False
            part.data += start * x.strides_[axis]
            axis += 1
        else:
            if not is_bound((<PySliceObject *> k).start) or not is_bound((<PySliceObject *> k).stop) \
                    or not is_bound((<PySliceObject *> k).step):
                return False
            if PySlice_Unpack(k, &start, &stop, &step) < 0:
                PyErr_Clear()
                return False
            length = PySlice_AdjustIndices(x.shape_[axis], &start, &stop, step)
            if not add_axis(part, length, x.strides_[axis] * (step if length > 1 else 1)):
                return False
            part.data += start * x.strides_[axis] if length else 0
            axis += 1
    return True


cdef inline bint add_axis(Part *part, Py_ssize_t length, Py_ssize_t stride) noexcept:
    """Is there room for one more?"""
    if part.ndim == MGX_MAXDIM:
        return False
    part.shape[part.ndim], part.strides[part.ndim] = length, stride
    part.ndim += 1
    return True


cdef Array part_of(Array x, object key):
    """The part of ``x`` that is named, to be written to, or None."""
    cdef Part part
    return alias(x, part.data, x.dtype_, part.ndim, part.shape, part.strides) if find_part(x, key, &part) else None


# ----- index ------------------------------------------------------------------------------------------------------

cdef Array index(Array x, object key):
    cdef Part part
    cdef Array out
    if not find_part(x, key, &part):
        return index_by_numpy(x, key)
    out = view_of(x, part.data, part.ndim, part.shape, part.strides)
    if x.needs_grad and grad_enabled():
        record_structured(out, b"index", index_vjp, (key if type(key) is tuple else (key,), shape_of(x)), x)
    return out


cdef Array index_by_numpy(Array x, object key):
    """By masks and integer arrays, and by objects of the user's."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef Array line, out, held = detached(x)    # an index that is an object of the user's may give x other data
    cdef int d
    cdef char *address
    line = None
    if not (is_capturing() or x.needs_grad and grad_enabled()):     # nothing keeps the key
        line = along_axis(key if type(key) is tuple else (key,), x, &d)
    if line is None:
        key = normalize_key(key)
        if not is_capturing() or has_tensor(key):                   # an array is read again at each replay
            line = along_axis(key, x, &d)
    out = None if line is None else pick(x, d, along_line(line, x, d))
    if out is not None:                                             # else NumPy says why
        if line.ndim != 1:
            check_ndim("index", x.ndim + line.ndim - 1)
            memcpy(shape, x.shape_, d * sizeof(Py_ssize_t))
            memcpy(shape + d, line.shape_, line.ndim * sizeof(Py_ssize_t))
            memcpy(shape + d + line.ndim, x.shape_ + d + 1, (x.ndim - d - 1) * sizeof(Py_ssize_t))
            out = unmark_view(reshape(out, x.ndim + line.ndim - 1, shape))
        record_structured(out, b"index", index_vjp, (key, shape_of(x)), x)
        return out
    cdef LaunchList recording = set_recording(None)
    try:
        base = readable_ndarray(held)
        at = key
        if has_tensor(key):
            at = tuple([readable_ndarray(<Array> k) if isinstance(k, Array) else k for k in key])
        pair = base, at
        result = getitem(*pair)                                     # a call that looks whether there is a result
    except (IndexError, ValueError, OverflowError) as error:
        raise IndexError_(f"index: shape {shape_of(x)}: {error}") from None
    except SystemError as error:
        raise_without_memory(error)
    finally:
        set_recording(recording)
    check_ndim("index", result.ndim)
    if not isinstance(result, np.ndarray):                          # every axis indexed by an integer
        result = base[key + (...,)]
    if not has_tensor(key) and result.base is not None and (result.size == 0 or np.may_share_memory(result, base)):
        address = address_of(result) if result.size else held.data
        for d in range(result.ndim):
            shape[d], strides[d] = result.shape[d], result.strides[d]
        out = view_of(held, address, result.ndim, shape, strides)
    elif is_capturing():
        out = compute_on_host(_take, (held, *key))
    else:
        out = from_object(np.asarray(result, order="C"), result.dtype, False)       # contiguous, as in a replay
    record_structured(out, b"index", index_vjp, (key, shape_of(x)), x)
    return out

cdef object index_vjp(Node node, Array g, int i):
    key, shape = node.args
    return index_add(g, key, shape)


# ----- index_add: zeros of `shape` with x added at key; the transpose of index --------------------------------

cdef bint may_repeat(tuple key):
    """May a key name an element twice? Only where integer arrays are among it."""
    return any([isinstance(k, (Array, np.ndarray)) and k.dtype != np.bool_ for k in key])


cdef Array along_axis(tuple key, Array x, int *axis):
    """The indices of an axis, which is written to ``axis``, if that is all that a key names of the float ``x``, after
    whole axes; else None."""
    cdef int d = len(key) - 1
    if x.dtype_ > MGX_F64 or not 0 <= d < x.ndim or not isinstance(key[d], (Array, np.ndarray)) \
            or key[d].dtype != np.int64 or key[d].ndim == 0:
        return None
    for k in key[:d]:
        if type(k) is not slice or k != slice(None):
            return None
    axis[0] = d
    return <Array> key[d] if isinstance(key[d], Array) else from_object(key[d], np.int64, True)


cdef Array along_line(Array at, Array x, int axis):
    """The indices in one line, expanded to the other axes of ``x``."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef int d
    at = as_contiguous(at)
    for d in range(x.ndim):
        shape[d], strides[d] = x.shape_[d], 0
    shape[axis], strides[axis] = at.size, sizeof(int64_t)
    return alias(at, at.data, MGX_I64, x.ndim, shape, strides)


def _put(out, x, *key):
    out[key] = x


cdef int add_in_places(out, key, x, Py_ssize_t most) except -1:
    """``np.add.at``; in float64 where ``most`` numbers of float32 may come to one place, whose sum would drift."""
    if out.dtype != np.float32 or most < DRIFTING:
        np.add.at(out, key, x)
        return 0
    wide = out.astype(np.float64)
    np.add.at(wide, key, x.astype(np.float64))
    out[...] = wide
    return 0


def _add_at(out, x, *key):
    add_in_places(out, key, x, max([k.size for k in key if isinstance(k, np.ndarray)]))


cdef Array index_add(Array x, tuple key, tuple shape_):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    cdef Array out, part, at
    for d in range(len(shape_)):
        shape[d] = shape_[d]
    out = empty(x.dtype_, len(shape_), shape)
    fill(out, 0)
    part, at = part_of(out, key), along_axis(key, out, &d)
    if part is not None:
        copy(x, part)
    elif at is not None:
        add_at(x, d, along_line(at, out, d), out)                           # the bounds were checked by index
    else:
        host(_add_at if may_repeat(key) else _put, (out,), (x, *key))
    record_structured(out, b"index_add", index_add_vjp, key, x)
    return out

cdef bint index_add_into(Array total, Node node, Array g) except -1:
    """What the vjp of ``node``, if it is an index, would pass on: added in place. False where it is for the vjp."""
    cdef Operand operand[3]
    cdef Array part, at
    cdef int d
    if node.v.op != OP_STRUCTURED or node.vjp != index_vjp:
        return False
    key = node.args[0]
    at = along_axis(key, total, &d) if total.contiguous and total.dtype_ == g.dtype_ else None
    if at is not None:
        add_at(g, d, along_line(at, total, d), total)
        return True
    if may_repeat(key):
        return False
    part = index(total, key)
    if part.storage != total.storage:               # a mask: the numbers are a copy
        return False
    put_array(&operand[0], part)
    put_array(&operand[1], g)
    put_array(&operand[2], part)
    elementwise(MGX_add, MGX_FORWARD, part.dtype_, 2, 1, operand, part.ndim, part.shape_)
    return True

cdef object index_add_vjp(Node node, Array g, int i):
    return index(g, node.args)


# ----- assign: x[key] = value, in place -----------------------------------------------------------------------

cdef int assign(Array x, object key, Array v) except -1:
    """Recorded as a new node of x: the gradient is cut where x was overwritten, and gathered for v, which has
    the shape of x[key]."""
    cdef Array before, part
    cdef bint needs_grad
    key = normalize_key(key)
    check_write(x, "setitem")
    needs_grad = grad_enabled() and (x.needs_grad or v.needs_grad)
    if needs_grad and v.needs_grad:
        check_shared(x, "setitem")
    if v.dtype_ <= MGX_F64 and x.dtype_ > MGX_F64:
        raise DTypeError(f"setitem: values of dtype {dtype_of(v.dtype_)} cannot be stored as {dtype_of(x.dtype_)}")
    if share_memory(x, v):
        v = apply(MGX_clone, v, None, None)
    before = detached(x)
    before.node, before.needs_grad = x.node, x.needs_grad
    part = part_of(x, key)
    try:
        if part is not None:
            copy(v, part)
        else:
            host(_put, (x,), (v, *key))
    except (IndexError, OverflowError) as error:
        raise IndexError_(f"setitem: shape {shape_of(x)}: {error}") from None
    except ValueError as error:
        raise ShapeError(f"setitem: {error}") from None
    if needs_grad:
        bump_world(x)
        record_structured(x, b"setitem", assign_vjp, (key, v.dtype_), before, v)
    return 0


cdef bint assign_number(Array x, object key, object value) except -1:
    """x[key] = value for a number and a part of ``x``, which cuts no gradient; False where it is for `assign`."""
    cdef Array part
    cdef type kind = type(value)
    if kind is not float and kind is not int and kind is not bool or x.needs_grad and grad_enabled() \
            or (x.dtype_ > MGX_F64 if kind is float else not -2**53 <= value <= 2**53):
        return False
    part = part_of(x, key)
    if part is None:
        return False
    check_write(x, "setitem")
    fill(part, value)                           # exact: integers up to 2^53 are numbers of a double
    return True

cdef object assign_vjp(Node node, Array g, int i):
    cdef Array part
    key, dtype = node.args
    if i == 0:
        return cut(g, key)
    part = index(g, key)
    if may_repeat(key):                                                # of several values the last one stayed
        part = apply(MGX_where, compute_on_host(last_writes, (shape_of(g), *key)), part, 0.0)
    return part if part.dtype_ == dtype else convert(part, dtype)


def last_writes(shape, *key):
    """Which of the values written at ``key`` were not overwritten by a later one."""
    writer = np.full(shape, -1)
    mine = np.arange(writer[key].size).reshape(writer[key].shape)
    writer[key] = mine
    return writer[key] == mine


def _cut(out, x, *key):
    out[...] = x
    out[key] = 0


cdef Array cut(Array x, tuple key):
    """A copy of x with zeros at key; its own transpose."""
    cdef Array out = empty_like(x), part = part_of(out, key)
    if part is not None:
        copy(x, out)
        fill(part, 0)
    else:
        host(_cut, (out,), (x, *key))
    record_structured(out, b"cut", cut_vjp, key, x)
    return out

cdef object cut_vjp(Node node, Array g, int i):
    return cut(g, node.args)


# ----- concat: along `axis` -----------------------------------------------------------------------------------

cdef int wider_dtype(int a, int b) noexcept:
    """The dtype that holds both: bool, int64, float32, float64 in this order."""
    if a > MGX_F64 and b > MGX_F64:
        return min(a, b)
    return max(a, b) if a <= MGX_F64 and b <= MGX_F64 else min(a, b)


cdef Array concat(list joined, int axis):
    cdef tuple xs = tuple(joined)
    cdef Array first = <Array> xs[0], x, out
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t start = 0
    cdef int d, dtype = first.dtype_
    cdef bint needs_grad = False
    cdef list starts = []
    if first.ndim == 0:
        raise ShapeError("concat: of tensors without axes; stack joins them along a new one")
    for d in range(first.ndim):
        shape[d] = first.shape_[d]
    shape[axis] = 0
    for x in xs:
        for d in range(first.ndim):
            if x.ndim != first.ndim or (d != axis and x.shape_[d] != first.shape_[d]):
                raise ShapeError(f"concat: shapes {shape_of(first)} and {shape_of(x)} differ along another axis than "
                                 f"{axis}")
        dtype = wider_dtype(dtype, x.dtype_)
        if x.shape_[axis] > PY_SSIZE_T_MAX - shape[axis]:
            raise MemoryError(f"concat: axis {axis} of the result is too long")
        shape[axis] += x.shape_[axis]
        needs_grad = needs_grad or x.needs_grad
    out = empty(dtype, first.ndim, shape)
    for x in xs:
        for d in range(first.ndim):
            shape[d] = x.shape_[d]
        copy(x, alias(out, out.data + start * out.strides_[axis], dtype, out.ndim, shape, out.strides_))
        starts.append((start, start + x.shape_[axis], x.dtype_))
        start += x.shape_[axis]
    if needs_grad and grad_enabled():
        record_result(out, b"concat", concat_vjp, (axis, starts), joined)
    return out

cdef object concat_vjp(Node node, Array g, int i):
    cdef Array part
    axis, starts = node.args
    start, stop, dtype = starts[i]
    part = index(g, (slice(None),) * axis + (slice(start, stop),))
    return part if part.dtype_ == dtype else convert(part, dtype)


# ----- pad: widths [(before, after)] per axis -----------------------------------------------------------------

cdef Array pad(Array x, object widths, double value):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    cdef Array out
    for d in range(x.ndim):
        shape[d] = widths[d][0] + x.shape_[d] + widths[d][1]
    out = empty(x.dtype_, x.ndim, shape)
    fill(out, value)
    key = tuple([slice(widths[d][0], widths[d][0] + x.shape_[d]) for d in range(x.ndim)])
    copy(x, part_of(out, key))
    record_structured(out, b"pad", index_add_vjp, key, x)
    return out


# ----- gather: out[..., j, ...] = x[..., at[..., j, ...], ...] along `axis`; scatter_add is its transpose -------

cpdef int check_along(str op, Array x, int axis, Array at) except -1:
    """Are these indices of ``x`` along an axis?"""
    return check_shape(op, x, axis, at) or check_range(op, x, axis, at)


cdef int check_shape(str op, Array x, int axis, Array at) except -1:
    cdef int d
    if at.dtype_ != MGX_I64:
        raise DTypeError(f"{op}: an index is an int64 tensor, not {dtype_of(at.dtype_)}")
    if at.ndim != x.ndim:
        raise ShapeError(f"{op}: an index of {at.ndim} axes for an array of {x.ndim} ({at.ndim} != {x.ndim})")
    for d in range(x.ndim):
        if d != axis and at.shape_[d] > x.shape_[d]:
            raise ShapeError(f"{op}: index of shape {shape_of(at)} exceeds shape {shape_of(x)} at axis {d}")
    return 0


cdef int check_range(str op, Array x, int axis, Array at) except -1:
    if at.size and not is_capturing():                          # else NumPy checks, at every replay
        refuse_range(op, x, axis, at)
    return 0


cdef int refuse_range(str op, Array x, int axis, Array at) except -1:
    """Raise if an index is out of range."""
    low, high = readable_ndarray(at).min(), readable_ndarray(at).max()
    if low < -x.shape_[axis] or high >= x.shape_[axis]:
        raise IndexError_(f"{op}: index {high if high >= x.shape_[axis] else low} is out of range for axis {axis} "
                          f"of length {x.shape_[axis]}")
    return 0


cpdef tuple along(object at, int axis):
    """Index arrays that name the elements of `at` along `axis`, one per axis."""
    grid = list(np.meshgrid(*[np.arange(n) for n in at.shape], indexing="ij", sparse=True))
    grid[axis] = at
    return tuple(grid)


cdef Array copy_index(Array at):
    """An index as it is now; one that is expanded stays so."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef int d
    cdef Array out
    for d in range(at.ndim):
        shape[d] = at.shape_[d] if at.strides_[d] or at.shape_[d] == 0 else 1
    out = empty(at.dtype_, at.ndim, shape)
    copy(alias(at, at.data, at.dtype_, at.ndim, shape, at.strides_), out)
    for d in range(at.ndim):
        strides[d] = out.strides_[d] if shape[d] == at.shape_[d] else 0
    return alias(out, out.data, at.dtype_, at.ndim, at.shape_, strides)


cdef Array save_index(Array at, Array x):
    """An index as it is now, where a graph will keep it."""
    return copy_index(at) if x.needs_grad and grad_enabled() else at


def _gather(x, at, axis):
    return x[along(at, axis)]


cdef Array gather(Array x, int axis, Array at):
    if x.ndim == 0:
        return gather(as_line(x), 0, at)
    if at.ndim == 0 and x.ndim == 1:                # a point counts as a line of one
        return as_point(gather(x, 0, as_line(at)))
    cdef Array out
    check_shape("gather", x, axis, at)
    if x.dtype_ <= MGX_F64:
        out = pick(first_part(x, axis, at), axis, at)
        if out is None:
            refuse_range("gather", x, axis, at)
    else:
        check_range("gather", x, axis, at)
        out = compute_on_host(_gather, (x, at, axis))
    record_gather(out, b"gather", x, axis, at)
    return out


cdef Array first_part(Array x, int axis, Array at):
    """The first elements of ``x``, as many as ``at`` has along each other axis; x itself where that is all."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    memcpy(shape, at.shape_, at.ndim * sizeof(Py_ssize_t))
    shape[axis] = x.shape_[axis]
    return alias(x, x.data, x.dtype_, x.ndim, shape, x.strides_)


cdef int record_gather(Array out, const char *name, Array x, int axis, Array at) except -1:
    """``out`` is what the operation ``name`` gathered from ``x``."""
    if x.needs_grad and grad_enabled():
        record_structured(out, name, gather_vjp, (axis, save_index(at, x), shape_of(x)), x)
    return 0

cdef object gather_vjp(Node node, Array g, int i):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    cdef Array zeros
    axis, at, shape_ = node.args
    for d in range(len(shape_)):
        shape[d] = shape_[d]
    zeros = empty(g.dtype_, len(shape_), shape)
    fill(zeros, 0)
    return scatter_add(zeros, axis, at, g)


def _scatter(out, x, at, axis, source):
    out[...] = x
    add_in_places(out, along(at, axis), source, at.shape[axis])


cdef Array scatter_add(Array x, int axis, Array at, Array source):
    """A copy of x with source[..., j, ...] added at at[..., j, ...]."""
    if x.ndim == 0:
        return as_point(scatter_add(as_line(x), 0, as_line(at), as_line(source)))
    if at.ndim == 0 and x.ndim == 1 and source.ndim <= 1:
        return scatter_add(x, 0, as_line(at), as_line(source))
    check_shape("scatter_add", x, axis, at)
    cdef Array out = empty_like(x)
    cdef int d
    for d in range(at.ndim):
        if source.ndim != at.ndim or at.shape_[d] > source.shape_[d]:
            raise ShapeError(f"scatter_add: index of shape {shape_of(at)} exceeds the source's {shape_of(source)}")
    if not same_shape(source, at):
        source = index(source, tuple([slice(0, at.shape_[d]) for d in range(at.ndim)]))
    if source.dtype_ <= MGX_F64 and x.dtype_ > MGX_F64:
        raise DTypeError(f"scatter_add: a source of {dtype_of(source.dtype_)} cannot be added to {dtype_of(x.dtype_)}")
    if source.dtype_ != x.dtype_:
        source = convert(source, x.dtype_)
    if x.dtype_ <= MGX_F64 and same_shape(first_part(x, axis, at), x):
        copy(x, out)
        if not add_at(source, axis, at, out):
            refuse_range("scatter_add", x, axis, at)
    else:
        check_range("scatter_add", x, axis, at)
        host(_scatter, (out,), (x, at, axis, source))
    record_structured(out, b"scatter_add", scatter_add_vjp, (axis, save_index(at, source)), x, source)
    return out

cdef object scatter_add_vjp(Node node, Array g, int i):
    axis, at = node.args
    return g if i == 0 else gather(g, axis, at)
