"""The public tensor: torch's objects with NumPy's names, over ``Array``."""
cimport cython
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject

from microgradx._core cimport views as v
from microgradx._core.array cimport *
from microgradx._core.backward import backward
from microgradx._core.elementwise cimport apply, apply_into
from microgradx._core.graph cimport grad_enabled, set_grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport copy, fill
from microgradx._core.structured cimport (amax, axes_of, cross_entropy_mean, cumsum, expand, linear, matmul,
                                          softmax_axis, sum_axes)

import numpy as np

from microgradx.errors import DTypeError, GraphError, OptionError, ShapeError

cdef extern from "Python.h":
    void PyObject_GC_Track(void *)
    bint PyObject_GC_IsTracked(object)


cdef object either(str op, object axis, object dim):
    """``dim`` is torch's name of ``axis``."""
    if dim is None:
        return axis
    if axis is not None:
        raise OptionError(f"{op}: axis={axis} and dim={dim} are two names of one argument")
    return dim


cdef Array tensor(object data):
    return <Array> data if isinstance(data, Array) else from_object(data, None, False)


cdef int read_shape(str op, object wanted, Py_ssize_t *shape) except -1:
    cdef int d
    if len(wanted) == 1 and isinstance(wanted[0], (tuple, list)):
        wanted = wanted[0]
    if len(wanted) > MGX_MAXDIM:
        raise ShapeError(f"{op}: an array has at most {MGX_MAXDIM} axes, not {len(wanted)}")
    for d in range(len(wanted)):
        try:
            shape[d] = wanted[d].__index__()
        except AttributeError:
            raise DTypeError(f"{op}: a shape is made of integers, not {wanted[d]!r}") from None
    return len(wanted)


class _Hook:
    """What ``register_hook`` returns; ``remove()`` takes the hook out."""

    def __init__(self, hooks):
        self.hooks = hooks

    def remove(self):
        self.hooks.pop(id(self), None)


@cython.final
@cython.c_api_binop_methods(True)
cdef class Tensor(Array):
    """An array of float32, float64, int64 or bool that remembers how it was made.

    ``Tensor(data, requires_grad=False, dtype=None)`` copies. Lists and Python floats make float32, as in torch;
    NumPy arrays keep float32 or float64. ``mgx.from_numpy`` shares instead. Only float tensors may require a
    gradient.

    Raises ``DTypeError`` for data that are not real numbers, ``ShapeError`` for ragged lists.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([[2., 4.],
            [6., 8.]])
    """

    def __init__(self, data, requires_grad=False, dtype=None):
        cdef Array source
        if self.storage != NULL:
            raise GraphError("Tensor: already made")
        if isinstance(data, Array):
            source = <Array> data
            if dtype is not None and dtype_code(dtype) != source.kind:
                source = v.convert(detached(source), dtype_code(dtype))
            else:
                source = apply(MGX_clone, detached(source), None, None)
        else:
            source = from_object(data, dtype, True)
        take(self, source)
        self.requires_grad = requires_grad

    cdef object apply(self, int op, object a, object b, object c):
        return apply(op, a, b, c)

    # ----- what it is ----------------------------------------------------------------------------------------

    @property
    def shape(self):
        """The lengths of the axes, a tuple."""
        return shape_of(self)

    @property
    def strides(self):
        """The steps of the axes, in bytes."""
        return tuple([self.steps[d] for d in range(self.ndim)])

    @property
    def dtype(self):
        """A NumPy dtype."""
        return dtype_of(self.kind)

    @property
    def requires_grad(self):
        """Whether operations on this tensor are recorded. May be set on leaves."""
        return self.wants

    @requires_grad.setter
    def requires_grad(self, bint on):
        if on and self.kind > MGX_F64:
            raise DTypeError(f"Tensor: only floats may require a gradient, not {dtype_of(self.kind)}")
        if not on and self.node is not None and self.node.v.op != OP_LEAF:
            raise GraphError("Tensor: this tensor is the result of an operation; detach() gives one without a graph")
        if on:
            leaf_of(self)
        self.wants = on

    def requires_grad_(self, on=True):
        """Set ``requires_grad``; returns the tensor."""
        self.requires_grad = on
        return self

    @property
    def is_leaf(self):
        """Whether no recorded operation made it."""
        return self.node is None or self.node.v.op == OP_LEAF

    @property
    def grad(self):
        """The accumulated gradient, or None."""
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, g):
        if g is not None:
            if not isinstance(g, Array):
                raise DTypeError(f"grad: a Tensor or None, not {type(g).__name__}")
            if not same_shape(<Array> g, self) or (<Array> g).kind != self.kind:
                raise ShapeError(f"grad: {dtype_of((<Array> g).kind)} of shape {shape_of(<Array> g)} for a tensor of "
                                 f"{dtype_of(self.kind)} and shape {shape_of(self)}")
            leaf_of(self)
        if self.node is not None:
            self.node.grad = g

    @property
    def version(self):
        """How often the storage was written to."""
        return self.storage.version

    @property
    def data(self):
        """The same numbers without a graph, sharing storage and version."""
        return detached(self)

    @data.setter
    def data(self, value):
        cdef Array other = tensor(value)
        if self.node is not None and self.node.v.op != OP_LEAF:
            raise GraphError("data: only a leaf may be given other data")
        if not same_shape(other, self) or other.kind != self.kind:
            raise ShapeError(f"data: {dtype_of(other.kind)} of shape {shape_of(other)} for a tensor of "
                             f"{dtype_of(self.kind)} and shape {shape_of(self)}")
        take(self, detached(other))

    # ----- the graph -----------------------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph=False, create_graph=False):
        """Add the gradient of this tensor to the ``grad`` of every leaf that it was made from.

        ``gradient`` is the gradient of this tensor, in its shape; 1 for a single number. The graph is freed
        unless ``retain_graph``; ``create_graph`` records the pass itself, so that gradients have gradients.

        Raises ``GraphError`` without a graph or for a freed one, ``ShapeError`` for a wrong ``gradient``.

        >>> import microgradx as mgx
        >>> x = mgx.Tensor(2.0, requires_grad=True)
        >>> (x ** 3).backward(create_graph=True)
        >>> g = x.grad
        >>> x.grad = None
        >>> g.backward()
        >>> g.item(), x.grad.item()
        (12.0, 12.0)
        """
        backward(self, gradient, retain_graph, create_graph)

    def detach(self):
        """The same numbers without a graph; shares storage."""
        return detached(self)

    def register_hook(self, hook):
        """Call ``hook(gradient)`` when this tensor's gradient is known; what it returns, if not None, takes the
        gradient's place. Returns a handle with ``remove()``."""
        if not self.wants:
            raise GraphError("register_hook: this tensor does not require a gradient")
        cdef Node node = leaf_of(self)
        if node.hooks is None:
            node.hooks = {}
        handle = _Hook(node.hooks)
        node.hooks[id(handle)] = hook
        for o in (self, node):                      # from now on there may be cycles
            if not PyObject_GC_IsTracked(o):
                PyObject_GC_Track(<void *> o)
        return handle

    def retain_grad(self):
        """Keep the gradient of this result in ``grad``, as for a leaf."""
        if not self.wants:
            raise GraphError("retain_grad: this tensor does not require a gradient")
        if self.node.v.op != OP_LEAF:
            self.node.retains = True

    # ----- in place ------------------------------------------------------------------------------------------

    def __iadd__(self, other):
        apply_into(MGX_add, self, other)
        return self

    def __isub__(self, other):
        apply_into(MGX_sub, self, other)
        return self

    def __imul__(self, other):
        apply_into(MGX_mul, self, other)
        return self

    def __itruediv__(self, other):
        apply_into(MGX_div, self, other)
        return self

    def copy_(self, source):
        """Write ``source``, broadcast, into this tensor."""
        self[...] = source
        return self

    def fill_(self, number):
        """Write ``number`` into every element."""
        self[...] = float(number)
        return self

    def zero_(self):
        """Write 0 into every element."""
        return self.fill_(0.0)

    # ----- to Python and NumPy ---------------------------------------------------------------------------------

    def item(self):
        """The single number in it, as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: a tensor of shape {shape_of(self)} is not a single number")
        return np.asarray(<Array> self).item()

    def numpy(self):
        """A NumPy copy. ``np.asarray(t)`` is a read-only view instead."""
        return np.array(<Array> self)

    def tolist(self):
        """Nested lists of Python numbers."""
        return np.asarray(<Array> self).tolist()

    def __array__(self, dtype=None, copy=None):
        array = np.asarray(memoryview(self))
        return np.array(array, dtype=dtype, copy=copy) if dtype is not None or copy else array

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if self.kind != MGX_I64:
            raise DTypeError(f"index: an int64 tensor of one number, not {dtype_of(self.kind)}")
        return int(self.item())

    def __bool__(self):
        if self.size != 1:
            raise ShapeError(f"bool: the truth of a tensor of shape {shape_of(self)} is ambiguous")
        return bool(self.item())

    def __len__(self):
        if self.ndim == 0:
            raise ShapeError("len: of a tensor without axes")
        return self.dims[0]

    def __iter__(self):
        if self.ndim == 0:
            raise ShapeError("iter: over a tensor without axes")
        return (v.index(self, k) for k in range(self.dims[0]))

    def __repr__(self):
        text = np.array2string(np.asarray(<Array> self), separator=", ", prefix="Tensor(")
        if self.kind != MGX_F32:
            text += f", dtype={dtype_of(self.kind)}"
        if self.wants:
            text += ", requires_grad=True"
        return f"Tensor({text})"

    def __copy__(self):
        return self.__deepcopy__({})

    def __deepcopy__(self, memo):
        if not self.is_leaf:
            raise GraphError("copy: only leaves are copied; use clone() or detach()")
        return Tensor(self, self.wants)

    def __reduce__(self):
        if not self.is_leaf:
            raise GraphError("pickle: only leaves are pickled; use detach()")
        return Tensor, (self.numpy(), bool(self.wants))

    # ----- comparisons -----------------------------------------------------------------------------------------

    def __richcmp__(self, other, int how):
        cdef int op = (MGX_lt if how == Py_LT else MGX_le if how == Py_LE else MGX_gt if how == Py_GT
                       else MGX_ge if how == Py_GE else MGX_eq if how == Py_EQ else MGX_ne)
        if other is None and how in (Py_EQ, Py_NE):
            return how == Py_NE
        return apply(op, self, other, None)

    def __hash__(self):
        return <Py_hash_t> (<size_t> <PyObject *> self >> 4)

    # ----- reductions ------------------------------------------------------------------------------------------

    def sum(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The sum over ``axis`` (an int, a tuple, or None for all)."""
        return sum_axes(self, axes_of("sum", either("sum", axis, dim), self.ndim), keepdims or keepdim, 1.0)

    def mean(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The mean over ``axis``; nan for no elements."""
        cdef unsigned int axes = axes_of("mean", either("mean", axis, dim), self.ndim)
        cdef Py_ssize_t n = 1
        for d in range(self.ndim):
            if axes >> d & 1:
                n *= self.dims[d]
        return sum_axes(self, axes, keepdims or keepdim, 1.0 / n if n else float("nan"))

    def amax(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The largest element over ``axis``; its gradient is split evenly among ties."""
        return amax(self, axes_of("amax", either("amax", axis, dim), self.ndim), keepdims or keepdim, 1.0)

    def argmax(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The position of the first largest element, int64."""
        return from_object(np.argmax(np.asarray(<Array> self), axis=either("argmax", axis, dim),
                                     keepdims=keepdims or keepdim), None, True)

    # ----- products --------------------------------------------------------------------------------------------

    def __matmul__(a, b):
        return matmul(tensor(a), tensor(b))

    def matmul(self, other):
        """The matrix product, as ``@``: 1-D, 2-D, and batches with broadcasting."""
        return matmul(self, tensor(other))

    # ----- shapes ----------------------------------------------------------------------------------------------

    def reshape(self, *shape):
        """Another shape of the same size; one length may be -1. A view where the layout allows it."""
        cdef Py_ssize_t lengths[MGX_MAXDIM]
        cdef int ndim = read_shape("reshape", shape, lengths), d, hole = -1
        cdef Py_ssize_t size = 1
        for d in range(ndim):
            if lengths[d] == -1 and hole < 0:
                hole = d
            elif lengths[d] < 0:
                raise ShapeError(f"reshape: a shape has no negative lengths, and -1 once: {shape}")
            else:
                size *= lengths[d]
        if hole >= 0:
            lengths[hole] = self.size // size if size else 0
            size *= lengths[hole]
        if size != self.size:
            raise ShapeError(f"reshape: shape {shape_of(self)} does not fit {shape} ({self.size} != {size})")
        return v.reshape(self, ndim, lengths)

    @property
    def T(self):
        """All axes reversed."""
        cdef int axes[MGX_MAXDIM]
        for d in range(self.ndim):
            axes[d] = self.ndim - 1 - d
        return v.permute(self, axes)

    def __getitem__(self, key):
        return v.index(self, key)

    def __setitem__(self, key, value):
        cdef Py_ssize_t shape[MGX_MAXDIM]
        cdef Array part, source
        key = v.plain(key)
        mode = set_grad_enabled(False)
        try:
            part = v.index(self, key)
        finally:
            set_grad_enabled(mode)
        if isinstance(value, Array):
            source = <Array> value
        else:
            source = from_object(value, None, False)
        if source.kind == MGX_F64 and self.kind == MGX_F32 and isinstance(value, Array) and source.ndim:
            raise DTypeError("setitem: float64 values are not stored in a float32 tensor (astype converts)")
        while source.ndim > part.ndim and source.dims[0] == 1:
            source = v.index(source, 0)
        if not same_shape(source, part):
            source = expand(source, part.ndim, part.dims)
        part = None
        v.assign(self, key, source)


cdef int take(Array to, Array source) except -1:
    """Give ``to`` the storage and geometry of ``source``."""
    cdef int d
    source.storage.refs += 1
    if to.storage != NULL:
        drop_storage(to)
    to.storage, to.data, to.kind, to.ndim = source.storage, source.data, source.kind, source.ndim
    to.size, to.contiguous = source.size, source.contiguous
    for d in range(source.ndim):
        to.dims[d], to.steps[d] = source.dims[d], source.steps[d]
    return 0

set_array_type(Tensor)


# ----- functions of several tensors ----------------------------------------------------------------------------

def linear_(x, weight, bias=None):
    return linear(tensor(x), tensor(weight), None if bias is None else tensor(bias))


def cross_entropy_(logits, labels, mean=True):
    return cross_entropy_mean(tensor(logits), tensor(labels), mean)


def from_numpy(array):
    """A tensor that shares the array's memory. A write through NumPy is not seen by the version counter."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: a NumPy array, not {type(array).__name__}")
    return from_object(array, array.dtype if array.dtype.kind == "f" else None, False)
