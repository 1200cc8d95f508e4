"""The public tensor: torch's objects with NumPy's names, over ``Array``."""
cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp, memcpy
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject

from microgradx._core cimport views as v
from microgradx._core.array cimport *
from microgradx._core.backward import backward
from microgradx._core.elementwise cimport apply, apply_into
from microgradx._core.graph cimport Type, grad_enabled, set_grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport (as_argument, bump_gradients, bump_world, compute_on_host, copy, fill,
                                      fill_integer, is_leaf, note_as_it_is, note_gradient, note_tensor)
from microgradx._core.structured cimport (amax, any_axes, argmax, axes_of, count_reduced, cross_entropy_mean, cumsum,
                                          expand, linear, logsumexp, matmul, mean_axes, power_norm, prod,
                                          softmax_axis, squares, squeeze_axes, sum_axes)
from microgradx._core.trace cimport refuse_traced

from typing import NamedTuple
from warnings import warn

import numpy as np

from microgradx._core.hooks import Handle, Hooks
from microgradx._core.launch import PART, by_parts, stretches
from microgradx._core.structured import HostOperation
from microgradx._core.ufuncs import counterpart, takes_turns
from microgradx.errors import DifferenceWarning, DTypeError, GraphError, OptionError, ShapeError, described, is_device

cdef extern from "Python.h":
    void PyObject_GC_Track(void *)
    bint PyObject_GC_IsTracked(object)
    void PyType_Modified(type)
    ctypedef struct Methods "PyTypeObject":
        PyObject *tp_dict


cdef object resolve_axis(str op, object axis, object dim):
    """``dim`` is torch's name of ``axis``."""
    if dim is None:
        return axis
    if axis is not None:
        raise OptionError(f"{op}: axis={axis} and dim={dim} are two names of one argument")
    return dim


cdef object checked_flag(str op, object requires_grad):
    """``requires_grad``, which is no length of a shape."""
    if not isinstance(requires_grad, (bool, np.bool_)):
        raise OptionError(f"{op}: requires_grad is True or False, not {requires_grad!r}; mgx.empty(2, 3) has a shape, "
                          f"and {op}([2, 3]) holds these numbers")
    return requires_grad


cdef Array to_array(object data):
    """A tensor as it is; what NumPy makes an array of as a copy, for a graph may keep it."""
    return <Array> data if isinstance(data, Array) else from_object(data, None, grad_enabled())


cdef int read_shape(str op, object wanted, Py_ssize_t *shape) except -1:
    cdef int d
    if len(wanted) == 1 and isinstance(wanted[0], (tuple, list)):
        wanted = tuple(wanted[0])
    check_ndim(op, len(wanted))
    for d in range(len(wanted)):
        shape[d] = v.integer(op, "a length", wanted[d])
    return len(wanted)


@cython.final
@cython.c_api_binop_methods(True)
cdef class Tensor(Array):
    """An array of float32, float64, int64 or bool that remembers how it was made.

    ``Tensor(data, requires_grad=False, dtype=None)`` copies. Lists and Python's numbers, integers too, make float32,
    as in torch; NumPy arrays keep float32, float64, int64 or bool. ``Tensor(2, 3)`` has that shape, filled with 0;
    ``Tensor()`` is empty.
    ``mgx.tensor`` makes int64 of integers and bool of flags, and ``mgx.from_numpy`` shares the memory instead. Only
    float tensors may require a gradient.

    Raises ``DTypeError`` for data that are not real numbers, ``ShapeError`` for ragged lists and for more than 32 axes.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([[2., 4.],
            [6., 8.]])
    """

    def __cinit__(self, data=(), requires_grad=False, dtype=None, *lengths):
        cdef Array source
        cdef Py_ssize_t shape[MGX_MAXDIM]
        cdef int ndim
        if type(data) is int and type(requires_grad) is int:        # a shape, as torch.Tensor(2, 3)
            sizes = (data, requires_grad) if dtype is None else (data, requires_grad, dtype) + lengths
            ndim = read_shape("Tensor", sizes, shape)
            source = empty(default_float, ndim, shape)
            fill(source, 0)
            requires_grad = False
        elif lengths:
            raise OptionError(f"Tensor: data, requires_grad and dtype, or the lengths of a shape, not "
                              f"{len(lengths) + 3} arguments")
        elif isinstance(data, Array):
            source = <Array> data
            refuse_traced("Tensor", source)
            if dtype is not None and dtype_code(dtype) != source.dtype_:
                source = v.convert(detached(source), dtype_code(dtype))
            else:
                source = apply(MGX_clone, detached(source), None, None)
        else:
            source = from_object(data, dtype, True)
            if dtype is None and source.dtype_ > MGX_F64 and not is_foreign(data):
                source = v.convert(source, default_float)
        share_storage(self, source)
        self.requires_grad = checked_flag("Tensor", requires_grad)

    def __init__(self, data=(), requires_grad=False, dtype=None):
        # Nobody sees a Tensor before it has its shape, which it keeps. So this is for explicit calls: see below.
        raise GraphError("Tensor: already made")

    # ----- what it is ----------------------------------------------------------------------------------------

    @property
    def shape(self):
        """The lengths of the axes, a tuple."""
        return shape_of(self)

    @property
    def strides(self):
        """The steps of the axes, in bytes."""
        return tuple([self.strides_[d] for d in range(self.ndim)])

    @property
    def dtype(self):
        """A NumPy dtype."""
        return dtype_of(self.dtype_)

    @property
    def requires_grad(self):
        """Whether operations on this tensor are recorded. May be set on leaves."""
        return as_argument(self).needs_grad if capture else self.needs_grad

    @requires_grad.setter
    def requires_grad(self, bint on):
        if on and self.dtype_ > MGX_F64:
            raise DTypeError(f"Tensor: only floats may require a gradient, not {dtype_of(self.dtype_)}")
        if not on and self.node is not None and self.node.v.op != OP_LEAF:
            raise GraphError("Tensor: this tensor is the result of an operation; detach() gives one without a graph")
        if capture:
            note_tensor(self)
        if on:
            node_of(self)
        if on != self.needs_grad:
            bump_world(self)
        self.needs_grad = on

    def requires_grad_(self, on=True):
        """Set ``requires_grad``; returns the tensor."""
        self.requires_grad = on
        return self

    @property
    def is_leaf(self):
        """Whether no recorded operation made it."""
        return is_leaf(as_argument(self) if capture else self)

    @property
    def grad_fn(self):
        """The node of the operation that made it, or None for a leaf: ``name()``, ``next_functions``.

        >>> import microgradx as mgx
        >>> y = mgx.Tensor([1.0], requires_grad=True).exp().sum()
        >>> y.grad_fn, y.grad_fn.next_functions[0][0].next_functions
        (<SumBackward0>, ((<ExpBackward0>, 0),))
        """
        cdef Array x = as_argument(self) if capture else self
        return None if is_leaf(x) else x.node

    @property
    def grad(self):
        """The accumulated gradient, or None."""
        cdef Array argument
        if capture and self.needs_grad:
            argument = as_argument(self)
            if argument is not self:
                note_as_it_is("it reads the gradient of an argument that has a graph")
                return argument.node.grad
            note_gradient(node_of(self), True)
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, g):
        if g is not None:
            if not isinstance(g, Array):
                raise DTypeError(f"grad: a Tensor or None, not {type(g).__name__}")
            if not same_shape(<Array> g, self) or (<Array> g).dtype_ != self.dtype_:
                raise ShapeError(f"grad: {dtype_of((<Array> g).dtype_)} of shape {shape_of(<Array> g)} for a tensor of "
                                 f"{dtype_of(self.dtype_)} and shape {shape_of(self)}")
            node_of(self)
        if self.node is not None:
            note_gradient(self.node, False)
            if self.node.grad is not g:
                self.node.grad = g
                bump_gradients()

    @property
    def version(self):
        """How often the storage was written to."""
        cdef Array argument = as_argument(self) if capture else self
        if argument is self and (not capture or self.storage.born == capture):
            return self.storage.version
        note_as_it_is("it reads the version of a tensor that it has not made")
        return argument.storage.version if argument is self else argument.storage.version + self.storage.version - 1

    @property
    def data(self):
        """The same numbers without a graph, sharing storage and version."""
        return detached(self)

    @data.setter
    def data(self, value):
        cdef Array other = (<Array> value if isinstance(value, Array)
                            else from_object(value, dtype_of(self.dtype_), True))
        cdef uint32_t version = self.storage.version
        if self.node is not None and self.node.v.op != OP_LEAF:
            raise GraphError("data: only a leaf may be given other data")
        if not same_shape(other, self) or other.dtype_ != self.dtype_:
            raise ShapeError(f"data: {dtype_of(other.dtype_)} of shape {shape_of(other)} for a tensor of "
                             f"{dtype_of(self.dtype_)} and shape {shape_of(self)}")
        if other.storage == self.storage and other.data == self.data and same_strides(other, self):
            return                                      # it was written in place: self.data -= step
        note_tensor(self)
        if capture:
            note_as_it_is("it assigns .data; write into the tensor instead: w.copy_(value), or w.data -= step")
        bump_world(self)
        share_storage(self, detached(other))
        self.storage.version = max(version, self.storage.version) + 1       # a graph that kept the old numbers sees it

    # ----- the graph -----------------------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph=False, create_graph=False):
        """Add the gradient of this tensor to the ``grad`` of every leaf that it was made from.

        ``gradient`` is the gradient of this tensor, in its shape; 1 for a single number. The graph is freed
        unless ``retain_graph``; ``create_graph`` records the pass itself, so that gradients have gradients. Such a
        ``grad`` and its graph refer to each other: set ``grad = None`` on the leaves to free both.

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
        if not self.needs_grad:
            raise GraphError("register_hook: this tensor does not require a gradient")
        cdef Node node = node_of(self)
        if node.hooks is None:
            node.hooks = Hooks()
        if capture and self.storage.born != capture:
            note_as_it_is("it registers a hook on a tensor that was there before; do that once, outside")
        bump_world(self)
        for o in (self, node):                      # from now on there may be cycles
            if not PyObject_GC_IsTracked(o):
                PyObject_GC_Track(<void *> o)
        return Handle(node.hooks, hook)

    @property
    def _backward_hooks(self):
        """The hooks of its gradient by their handles' keys; None where there are none."""
        return None if self.node is None else self.node.hooks

    def retain_grad(self):
        """Keep the gradient of this result in ``grad``, as for a leaf."""
        if not self.needs_grad:
            raise GraphError("retain_grad: this tensor does not require a gradient")
        if self.node.v.op != OP_LEAF:
            self.node.retains = True
            if capture:
                note_as_it_is("it keeps the gradient of a result (retain_grad); use autograd.grad")

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

    def copy_(self, source, non_blocking=False):
        """Write ``source``, broadcast and converted, into this tensor; ``non_blocking`` changes nothing."""
        cdef Array x = to_array(source)
        if x.dtype_ != self.dtype_:
            x = v.convert(x, self.dtype_)
        if not same_shape(x, self):
            x = expand(x, self.ndim, self.shape_)
        if grad_enabled() and (self.needs_grad or x.needs_grad) or share_memory(x, self):
            v.assign(self, ..., x)
        else:
            check_write(self, "copy_")
            copy(x, self)
        return self

    def fill_(self, value):
        """Write ``number`` into every element."""
        if grad_enabled() and self.needs_grad:
            self[...] = value
        else:
            value = (v.real("fill_", "what is written", value) if self.dtype_ <= MGX_F64
                     else whole_number("fill_", self, value))
            check_write(self, "fill_")
            if self.dtype_ <= MGX_F64:
                fill(self, value)
            else:
                fill_integer(self, value)
        return self

    def zero_(self):
        """Write 0 into every element."""
        return self.fill_(0)

    # ----- to Python and NumPy ---------------------------------------------------------------------------------

    def item(self):
        """The single number in it, as a Python number, whether it has a graph or not.

        Raises ``GraphError`` while a transform differentiates with respect to what it was computed from.
        """
        return read_number(self, "item")

    def numpy(self):
        """A NumPy copy, whether it has a graph or not. ``np.asarray(t)`` is a read-only view instead, of a tensor that
        requires no gradient."""
        refuse_traced("numpy", self)
        return np.array(ndarray_to_read(self))

    def tolist(self):
        """Nested lists of Python numbers."""
        refuse_traced("tolist", self)
        return ndarray_to_read(self).tolist()

    def __array__(self, dtype=None, copy=None):      # no-cython-lint
        """For NumPy: a read-only view, or a copy where ``dtype`` or ``copy`` needs one; ``copy=False`` raises then.

        Raises ``GraphError`` where the tensor requires a gradient: whatever takes it for an array would lose it.
        """
        if self.needs_grad:
            raise GraphError("array: this tensor requires a gradient, and an array has no graph; use an operation on "
                             "Tensors (stack() joins them, a.toarray() @ t is the product of a sparse a), or give "
                             "t.detach() where no gradient is wanted")
        array = ndarray_to_read(self)
        return np.array(array, dtype=dtype, copy=copy) if dtype is not None or copy else array

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """For NumPy: ``np.exp(t)``, ``array + t``, ``array @ t`` are operations on Tensors. ``DTypeError`` for a ufunc
        that is none of them; never an array of objects. Masked arrays do not ask: ``masked + t`` is a masked array,
        ``t + masked`` a Tensor."""
        if any([takes_turns(x) for x in inputs if not isinstance(x, Array)]):
            return NotImplemented
        name = counterpart(ufunc, method, options)
        if not isinstance(name, str):
            return name(*inputs)
        if name == "floor_divide":
            return divide_and_floor(inputs[0], inputs[1])
        if name == "matmul":
            return matmul(to_array(inputs[0]), to_array(inputs[1]))
        if name in BITWISE:
            return BITWISE[name](*[to_array(x) for x in inputs])
        return apply(opcode(name), inputs[0], inputs[1] if len(inputs) > 1 else None, None)

    def __float__(self):
        return float(read_number(self, "float"))

    def __int__(self):
        return int(read_number(self, "int"))

    def __format__(self, spec):
        """As its number is formatted; a tensor that has axes without a format as ``str``."""
        if not spec and self.ndim:
            return str(self)
        if self.size != 1:
            raise ShapeError(f"format: only one number can be formatted, this has {self.size}")
        return format(number_of(self), spec)

    def __index__(self):
        if self.dtype_ != MGX_I64:
            raise DTypeError(f"index: an int64 tensor of one number, not {dtype_of(self.dtype_)}")
        return int(self.item())

    def __bool__(self):
        if self.size != 1:
            raise ShapeError(f"bool: the truth of a tensor of shape {shape_of(self)} is ambiguous")
        return bool(number_of(self))

    def __len__(self):
        if self.ndim == 0:
            raise DTypeError("len: of a tensor without axes")
        return self.shape_[0]

    def __iter__(self):
        if self.ndim == 0:
            raise DTypeError("iter: over a tensor without axes")
        return (v.index(self, k) for k in range(self.shape_[0]))

    def __repr__(self):
        text = np.array2string(ndarray_to_read(self), separator=", ", prefix="Tensor(", **print_options)
        if self.dtype_ != default_float:
            text += f", dtype={dtype_of(self.dtype_)}"
        if self.needs_grad:
            text += ", requires_grad=True"
        return f"Tensor({text})"

    def __str__(self):
        """As torch prints it: four digits behind the point, and no dtype where it is the usual one."""
        array = ndarray_to_read(self)
        width = print_options.get("max_line_width", 80)
        options = {"precision": 4, **print_options, "max_line_width": width - 1 + self.ndim}     # as torch counts it
        if self.dtype_ <= MGX_F64:
            shown = _shown_part(array, **(np.get_printoptions() | options))
            sizes = np.abs(shown[np.isfinite(shown) & (shown != 0)], dtype=np.float64)
            wide = sizes.size and (sizes.max() > 1e8 or sizes.min() < 1e-4 or sizes.max() > 1000 * sizes.min())
            if wide and not options.get("suppress_small"):
                options["formatter"] = {"float": f"{{:.{options['precision']}e}}".format}
            elif (sizes != np.ceil(sizes)).any():
                options |= {"floatmode": "fixed", "suppress_small": True}
        text = np.array2string(array, separator=", ", prefix="tensor(", **options)
        text = f"tensor({text}"
        for note, needed in (("size={}", self.size == 0 and self.ndim > 1),
                             ("dtype={}", self.dtype_ <= MGX_F64 and self.dtype_ != default_float),
                             ("requires_grad=True" if is_leaf(self) else "grad_fn={}", self.needs_grad)):
            if needed:
                note = note.format(self.shape if "size" in note else self.dtype if "dtype" in note else self.node)
                wide = len(text) - text.rfind("\n") + len(note) + 3 > width
                text += (",\n       " if wide else ", ") + note
        return f"{text})"

    def __copy__(self):
        return self.__deepcopy__({})

    def __deepcopy__(self, memo):
        if not self.is_leaf:
            raise GraphError("copy: only leaves are copied; use clone() or detach()")
        out = Tensor(self, self.needs_grad)
        if self.grad is not None:
            out.grad = self.grad.__deepcopy__(memo)
        return out

    def __reduce__(self):
        if not self.is_leaf:
            raise GraphError("pickle: only leaves are pickled; use detach()")
        return Tensor, (self.numpy(), bool(self.needs_grad))

    # ----- comparisons -----------------------------------------------------------------------------------------

    def __richcmp__(self, other, int how):
        cdef int op = (MGX_lt if how == Py_LT else MGX_le if how == Py_LE else MGX_gt if how == Py_GT
                       else MGX_ge if how == Py_GE else MGX_eq if how == Py_EQ else MGX_ne)
        if other is None and how in (Py_EQ, Py_NE):
            return how == Py_NE
        return apply(op, self, other, None)

    def __hash__(self):
        return <Py_hash_t> (<size_t> <PyObject *> self >> 4)

    def __floordiv__(a, b):
        """The largest integer <= a/b, as Python's and NumPy's; of integers an integer. Gradient: 0."""
        return divide_and_floor(a, b)

    # ----- masks and integers ----------------------------------------------------------------------------------

    def __invert__(self):
        return BITWISE["invert"](self)

    def __and__(a, b):
        return BITWISE["and"](to_array(a), to_array(b))

    def __or__(a, b):
        return BITWISE["or"](to_array(a), to_array(b))

    def __xor__(a, b):
        return BITWISE["xor"](to_array(a), to_array(b))

    def __lshift__(a, b):
        return BITWISE["lshift"](to_array(a), to_array(b))

    def __rshift__(a, b):
        return BITWISE["rshift"](to_array(a), to_array(b))

    def __contains__(self, number):
        return bool(ndarray_to_read(apply(MGX_eq, self, number, None)).any())

    def where(self, a, b):
        """``a`` where this mask is True, else ``b``; as ``mgx.where(mask, a, b)``. Gradient: 1 for the one taken, 0 for
        the other, even if its own derivative is inf or nan.

        Raises ``DTypeError`` for a tensor that is no mask: torch's ``x.where(mask, other)`` is
        ``mgx.where(mask, x, other)``.
        """
        if self.dtype_ != MGX_BOOL:
            raise DTypeError(f"where: a method of a mask, mask.where(a, b), and a mask is bool, not "
                             f"{dtype_of(self.dtype_)}; torch's x.where(mask, other) is mgx.where(mask, x, other)")
        return apply(MGX_where, self, a, b)

    # ----- reductions ------------------------------------------------------------------------------------------

    def sum(self, axis=None, keepdims=False, *, dim=None, keepdim=False, dtype=None):
        """The sum over ``axis`` (an int, a tuple, or None for all). Integers and masks give int64. ``dtype`` converts
        first, and is that of the result, here and in the methods below.

        Floats are summed as a fixed tree of running sums: the error grows with the logarithm of the count.
        """
        cdef bint kept = keepdims or keepdim
        cdef Axes axes
        if dtype is not None:
            return self.astype(dtype).sum(axis, kept, dim=dim).astype(dtype)
        axes = axes_of("sum", resolve_axis("sum", axis, dim), self.ndim)
        if self.dtype_ > MGX_F64:
            return compute_on_host(np.sum, (self, axes_tuple(axes, self.ndim), None, None, kept))
        return sum_axes(self, axes, kept)

    def mean(self, axis=None, keepdims=False, *, dim=None, keepdim=False, dtype=None):
        """The mean over ``axis``; of no elements nan. That of integers and masks is computed in float64 and given as
        float32."""
        cdef Axes axes = axes_of("mean", resolve_axis("mean", axis, dim), self.ndim)
        if dtype is not None:
            return self.astype(dtype).mean(axis, keepdims or keepdim, dim=dim)
        if self.dtype_ > MGX_F64:
            return v.convert(v.convert(self, MGX_F64).mean(axis, keepdims or keepdim, dim=dim), default_float)
        return mean_axes(self, axes, keepdims or keepdim)

    def var(self, axis=None, ddof=None, keepdims=False, *, dim=None, keepdim=False, correction=None,
            unbiased=None):
        """The mean squared deviation from the mean; the sum is divided by n - ``ddof``, which is 0 unless given, as in
        NumPy and the array API. torch's is 1: the first call in a process that says neither ``ddof`` nor its other
        names ``correction`` and ``unbiased`` gives a ``DifferenceWarning``."""
        cdef Axes axes = axes_of("var", resolve_axis("var", axis, dim), self.ndim)
        cdef double divisor = divisor_of("var", self, axes, ddof, correction, unbiased)
        if self.dtype_ > MGX_F64:
            wide = v.convert(self, MGX_F64)
            wide = wide.var(axis, ddof, keepdims or keepdim, dim=dim, correction=correction, unbiased=unbiased)
            return v.convert(wide, default_float)
        return squares(b"var", self, axes, keepdims or keepdim, divisor, False, True)

    def std(self, axis=None, ddof=None, keepdims=False, *, dim=None, keepdim=False, correction=None,
            unbiased=None):
        """The square root of ``var``, with its ``ddof``. Its gradient is 0 where nothing deviates."""
        cdef Axes axes = axes_of("std", resolve_axis("std", axis, dim), self.ndim)
        cdef double divisor = divisor_of("std", self, axes, ddof, correction, unbiased)
        if self.dtype_ > MGX_F64:
            wide = v.convert(self, MGX_F64)
            wide = wide.std(axis, ddof, keepdims or keepdim, dim=dim, correction=correction, unbiased=unbiased)
            return v.convert(wide, default_float)
        return squares(b"std", self, axes, keepdims or keepdim, divisor, True, True)

    def norm(self, ord=2, axis=None, keepdims=False, *, dim=None, keepdim=False, p=None):
        """The vector norm (sum |x|^ord)^(1/ord) over ``axis``; ``ord`` may be inf, -inf or 0 (how many are not 0).
        torch calls it ``p``.
        Its gradient is 0 where the norm is 0, and for an ``ord`` below 1 at the elements that are 0."""
        cdef bint kept = keepdims or keepdim
        cdef Axes axes
        cdef Array size
        ord = ord if p is None else p
        ord = 2.0 if isinstance(ord, str) and ord == "fro" else v.real("norm", "ord", ord)
        axis = resolve_axis("norm", axis, dim)
        axes = axes_of("norm", axis, self.ndim)
        if self.dtype_ > MGX_F64:
            return v.convert(v.convert(self, MGX_F64).norm(ord, axis, kept), default_float)
        if ord == 2:
            return squares(b"norm", self, axes, kept, 1.0, True, False)
        if ord == 0:
            nothing = apply(MGX_mul, self, 0.0, None)                   # so that the result has a graph
            return apply(MGX_where, apply(MGX_ne, self, 0.0, None), 1.0, nothing).sum(axis, kept)
        if ord == 1:
            return apply(MGX_abs, self, None, None).sum(axis, kept)
        if ord in (float("inf"), float("-inf")):
            size = apply(MGX_abs, self, None, None)
            return size.amax(axis, kept) if ord > 0 else size.amin(axis, kept)
        return power_norm(self, axes, kept, ord)

    def prod(self, axis=None, keepdims=False, *, dim=None, keepdim=False, dtype=None):
        """The product over ``axis``, also where that of some of the elements overflows; exact gradients where elements
        are 0. Integers and masks give int64."""
        cdef Axes axes = axes_of("prod", resolve_axis("prod", axis, dim), self.ndim)
        cdef bint kept = keepdims or keepdim
        if dtype is not None:
            return self.astype(dtype).prod(axis, kept, dim=dim).astype(dtype)
        if self.dtype_ > MGX_F64:
            return compute_on_host(np.prod, (self, axes_tuple(axes, self.ndim), None, None, kept))
        return prod(self, axes, kept)

    def amax(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The largest element over ``axis``; a nan wins. The gradient is split evenly among ties."""
        return amax(self, axes_of("amax", resolve_axis("amax", axis, dim), self.ndim), keepdims or keepdim, 1.0)

    def amin(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The smallest element over ``axis``; a nan wins. The gradient is split evenly among ties."""
        return amax(self, axes_of("amin", resolve_axis("amin", axis, dim), self.ndim), keepdims or keepdim, -1.0)

    def max(self, axis=None, keepdims=False, *, dim=None, keepdim=False, other=None):
        """Without an axis the largest element, as ``amax``. With one, as torch: (values, indices) along it, of the
        first largest element, which gets the whole gradient. With another tensor in its place ``maximum``."""
        return find_extremum(self, "max", resolve_axis("max", axis, dim), other, keepdims or keepdim, 1.0)

    def min(self, axis=None, keepdims=False, *, dim=None, keepdim=False, other=None):
        """Without an axis the smallest element, as ``amin``; with one (values, indices), with another tensor
        ``minimum``, as ``max``."""
        return find_extremum(self, "min", resolve_axis("min", axis, dim), other, keepdims or keepdim, -1.0)

    def argmax(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The position of the first largest element along ``axis``, or in the flattened tensor; int64."""
        return find_position(self, 1.0, "argmax", resolve_axis("argmax", axis, dim), keepdims or keepdim)

    def argmin(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """The position of the first smallest element along ``axis``, or in the flattened tensor; int64."""
        return find_position(self, -1.0, "argmin", resolve_axis("argmin", axis, dim), keepdims or keepdim)

    def any(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """Whether an element along ``axis`` is not 0; a bool tensor."""
        return any_axes(self, axes_of("any", resolve_axis("any", axis, dim), self.ndim), keepdims or keepdim, False)

    def all(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """Whether no element along ``axis`` is 0; a bool tensor."""
        return any_axes(self, axes_of("all", resolve_axis("all", axis, dim), self.ndim), keepdims or keepdim, True)

    def logsumexp(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        """log(sum(exp(x))) over ``axis``, shifted by the maximum so that nothing overflows."""
        return logsumexp(self, axes_of("logsumexp", resolve_axis("logsumexp", axis, dim), self.ndim),
                         keepdims or keepdim)

    def softmax(self, axis=-1, *, dim=None, dtype=None):
        """exp(x) / sum(exp(x)) along ``axis``."""
        if dtype is not None:
            return self.astype(dtype).softmax(axis, dim=dim)
        return softmax_axis(self, v.axis_of("softmax", axis if dim is None else dim, self.ndim), False)

    def log_softmax(self, axis=-1, *, dim=None, dtype=None):
        """x - log(sum(exp(x))) along ``axis``."""
        if dtype is not None:
            return self.astype(dtype).log_softmax(axis, dim=dim)
        return softmax_axis(self, v.axis_of("log_softmax", axis if dim is None else dim, self.ndim), True)

    def cumsum(self, axis=None, *, dim=None, dtype=None):
        """Running sums along ``axis``, or without one of the flattened tensor. Integers and masks give int64."""
        axis = resolve_axis("cumsum", axis, dim)
        if dtype is not None:
            return self.astype(dtype).cumsum(axis)
        if axis is None:
            return cumsum(self.reshape(-1), 0)
        return cumsum(self, v.axis_of("cumsum", axis, self.ndim))

    # ----- products --------------------------------------------------------------------------------------------

    def __matmul__(a, b):
        return matmul(to_array(a), to_array(b))

    def matmul(self, other):
        """The matrix product, as ``@``: (..., m, k) @ (..., k, n) -> (..., m, n); 1-D operands are a row or a
        column that vanishes from the result, leading axes broadcast. The dtypes of floats must agree; integers and
        masks among themselves give what NumPy gives.

        Raises ``ShapeError``: ``matmul: shapes (2, 3) and (4, 5) do not align (3 != 4)``.
        """
        return matmul(self, to_array(other))

    def outer(self, other):
        """All products of two 1-D tensors: (m,), (n,) -> (m, n)."""
        cdef Array b = to_array(other)
        if self.ndim != 1 or b.ndim != 1:
            raise ShapeError(f"outer: shapes {shape_of(self)} and {shape_of(b)}: both have one axis")
        return apply(MGX_mul, v.index(self, (slice(None), None)), b, None)

    # ----- shapes ----------------------------------------------------------------------------------------------

    def reshape(self, *shape):
        """Another shape of the same size; one length may be -1. A view where there are strides for it, else
        a copy."""
        cdef Py_ssize_t lengths[MGX_MAXDIM]
        cdef int ndim = read_shape("reshape", shape, lengths), d, hole = -1
        cdef Py_ssize_t size = 1
        cdef bint fits = True, nothing = False
        for d in range(ndim):
            if lengths[d] == -1 and hole < 0:
                hole = d
            elif lengths[d] < 0:
                raise ShapeError(f"reshape: a shape has no negative lengths, and -1 once: {shape}")
            elif lengths[d] == 0:                       # then the product of the others does not count
                nothing = True
            elif size > PY_SSIZE_T_MAX // lengths[d]:
                fits = False
            else:
                size *= lengths[d]
        if nothing:
            size = 0
        elif not fits:
            raise ShapeError(f"reshape: shape {shape_of(self)} does not fit {shape} ({self.size} elements)")
        if hole >= 0 and nothing:
            raise ShapeError(f"reshape: shape {shape_of(self)} to {shape}: any length in place of -1 would fit")
        if hole >= 0:
            lengths[hole] = self.size // size
            size *= lengths[hole]
        if size != self.size:
            raise ShapeError(f"reshape: shape {shape_of(self)} does not fit {shape} ({self.size} != {size})")
        return v.reshape(self, ndim, lengths)

    def flatten(self, start_axis=0, end_axis=-1, *, start_dim=None, end_dim=None):
        """The axes from ``start_axis`` to ``end_axis`` as one."""
        if self.ndim == 0:
            return self.reshape(1)
        first = v.axis_of("flatten", start_axis if start_dim is None else start_dim, self.ndim)
        last = v.axis_of("flatten", end_axis if end_dim is None else end_dim, self.ndim)
        if first > last:
            raise ShapeError(f"flatten: axis {first} is behind axis {last}")
        shape = shape_of(self)
        length = 1
        for n in shape[first:last + 1]:
            length *= n
        return self.reshape(shape[:first] + (length,) + shape[last + 1:])

    def squeeze(self, axis=None, *, dim=None):
        """Without axes of length 1: all of them, or those that are named (a longer one stays). A view."""
        cdef Axes axes = axes_of("squeeze", resolve_axis("squeeze", axis, dim), self.ndim)
        return self.reshape(tuple([self.shape_[d] for d in range(self.ndim)
                                   if not (axes >> d & 1 and self.shape_[d] == 1)]))

    def unsqueeze(self, axis=None, *, dim=None):
        """With an axis of length 1 put in at ``axis``. A view."""
        cdef int d = v.axis_of("unsqueeze", resolve_axis("unsqueeze", axis, dim), self.ndim + 1)
        return self.reshape(shape_of(self)[:d] + (1,) + shape_of(self)[d:])

    def permute(self, *axes):
        """The axes in another order: ``out.shape[d] == x.shape[axes[d]]``. A view."""
        cdef int order[MGX_MAXDIM]
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = tuple(axes[0])
        axes = tuple([v.axis_of("permute", d, self.ndim) for d in axes])
        if len(axes) != self.ndim or axes_of("permute", axes, self.ndim) != all_axes(self.ndim):
            raise ShapeError(f"permute: {axes} does not name each of the {self.ndim} axes once")
        for d in range(self.ndim):
            order[d] = axes[d]
        return v.permute(self, order)

    def transpose(self, axis0=None, axis1=None, *, dim0=None, dim1=None):
        """Two axes exchanged, as torch; without arguments all axes reversed, as NumPy. A view."""
        cdef int order[MGX_MAXDIM]
        cdef int d, i, k
        axis0, axis1 = resolve_axis("transpose", axis0, dim0), resolve_axis("transpose", axis1, dim1)
        if axis0 is None and axis1 is None:
            return reversed_axes(self)
        i, k = v.axis_of("transpose", axis0, self.ndim), v.axis_of("transpose", axis1, self.ndim)
        for d in range(self.ndim):
            order[d] = k if d == i else i if d == k else d
        return v.permute(self, order)

    @property
    def T(self):
        """All axes reversed."""
        return reversed_axes(self)

    @property
    def mT(self):
        """The last two axes exchanged."""
        return self.transpose(-1, -2)

    def expand(self, *shape):
        """A view broadcast to ``shape``; -1 keeps a length."""
        cdef Py_ssize_t lengths[MGX_MAXDIM]
        cdef int ndim = read_shape("expand", shape, lengths), d
        for d in range(ndim):
            if lengths[d] == -1 and d >= ndim - self.ndim:
                lengths[d] = self.shape_[d - ndim + self.ndim]
            elif lengths[d] < 0:
                raise ShapeError(f"expand: a shape has no negative lengths: {shape}")
        return expand(self, ndim, lengths)

    def contiguous(self):
        """Itself if its elements lie in order, else a copy in which they do."""
        return v.contiguous(self)

    def astype(self, dtype):
        """Another dtype; itself if it has that dtype. The gradient is converted back."""
        cdef int code = dtype_code(dtype)
        return self if code == self.dtype_ else v.convert(self, code)

    def split(self, sizes=None, axis=0, *, dim=None, split_size=None, split_size_or_sections=None):
        """Views of pieces along ``axis``: of length ``sizes``, the last may be shorter, or of the lengths listed."""
        cdef int d = v.axis_of("split", axis if dim is None else dim, self.ndim)
        cdef Py_ssize_t start = 0, length = self.shape_[d] if self.ndim else 1
        sizes = sizes if sizes is not None else split_size if split_size is not None else split_size_or_sections
        if isinstance(sizes, (tuple, list)):
            sizes = [v.integer("split", "a length", n) for n in sizes]
        else:
            sizes = v.integer("split", "a length", sizes)
            if sizes <= 0:
                raise ShapeError(f"split: pieces of length {sizes}")
            sizes = [min(sizes, length - k) for k in range(0, length, sizes)] or [0]
        if sum(sizes) != length or min(sizes, default=0) < 0:
            raise ShapeError(f"split: pieces {tuple(sizes)} do not add up to axis {d} of length {length}")
        result = []
        for n in sizes:
            result.append(v.index(self, (slice(None),) * d + (slice(start, start + n),)))
            start += n
        return tuple(result)

    def gather(self, axis=None, index=None, *, dim=None):
        """``out[i, j] = x[index[i, j], j]`` for axis 0, and so on: NumPy's take_along_axis."""
        axis = resolve_axis("gather", axis, dim)
        return v.gather(self, v.axis_of("gather", axis, self.ndim), to_array(index))

    def scatter_add(self, axis=None, index=None, source=None, *, dim=None):
        """A copy with ``source[i, j]`` added at ``[index[i, j], j]`` for axis 0, and so on."""
        axis = resolve_axis("scatter_add", axis, dim)
        return v.scatter_add(self, v.axis_of("scatter_add", axis, self.ndim), to_array(index), to_array(source))

    def triu(self, k=0, *, diagonal=None):
        """The upper triangle of the last two axes, from diagonal ``k`` on; 0 below it."""
        return triangle(self, "triu", np.triu, k if diagonal is None else diagonal)

    def tril(self, k=0, *, diagonal=None):
        """The lower triangle of the last two axes, up to diagonal ``k``; 0 above it."""
        return triangle(self, "tril", np.tril, k if diagonal is None else diagonal)

    def __getitem__(self, key):
        return v.index(self, key)

    def __setitem__(self, key, value):
        cdef Array part, source
        if v.assign_number(self, key, value):
            return
        key = v.normalize_key(key)
        mode = set_grad_enabled(False)
        try:
            part = v.index(self, key)
        finally:
            set_grad_enabled(mode)
        if isinstance(value, Array):
            source = <Array> value
        else:
            if self.dtype_ > MGX_F64 and isinstance(value, (float, np.floating)):
                value = whole_number("setitem", self, value)
            plain_number = self.dtype_ <= MGX_F64 and not hasattr(value, "dtype")
            source = from_object(value, dtype_of(self.dtype_) if plain_number else None, True)
        if source.dtype_ == MGX_F64 and self.dtype_ == MGX_F32 and isinstance(value, Array) and source.ndim:
            raise DTypeError("setitem: float64 values are not stored in a float32 tensor (x.float() converts)")
        while source.ndim > part.ndim and source.shape_[0] == 1:
            source = v.index(source, 0)
        if not same_shape(source, part):
            source = expand(source, part.ndim, part.shape_)
        part = None
        v.assign(self, key, source)


def version_of(Array a not None):
    """How often the storage was written to, to be compared with a later answer: no captured call depends on it."""
    return a.storage.version


def _shown_part(array, *, threshold, edgeitems, **_):
    """The elements that array2string shows."""
    if array.size <= threshold:
        return array
    return array[np.ix_(*[np.r_[:edgeitems, n - edgeitems:n] if n > 2 * edgeitems else np.arange(n)
                          for n in array.shape])]


print_options = {}                                  # what array2string takes: see `config.set_printoptions`
(<Type *> Tensor).tp_init = NULL            # what a call of the class would run after __cinit__
set_array_type(Tensor)


def attach(dict functions):
    """Make functions methods of ``Tensor``: those that are written over it and stand above it."""
    (<dict> (<Methods *> Tensor).tp_dict).update(functions)
    PyType_Modified(Tensor)


# ----- the number of elements, which can be called ----------------------------------------------------------------

cdef struct Counted:
    PyObject *count             # the `Count` of a shape
    int ndim
    Py_ssize_t shape[4]

cdef Counted counted[64]        # those of the last shapes
cdef object count_class = None


def count_by(type kind not None):
    """``x.size`` is a ``kind``: an int with the attribute ``shape``."""
    global count_class
    count_class = kind


def count_of(Array x not None):
    """``x.size``. One object serves all tensors of a shape: to make an int of a class of its own takes ten times as
    long as to find it."""
    cdef Counted *at
    cdef size_t mixed = x.ndim
    cdef int d
    if x.ndim > 4:
        return make_count(x)
    for d in range(x.ndim):
        mixed = mixed * 31 + x.shape_[d]
    at = &counted[(mixed ^ mixed >> 6) & 63]
    if at.count == NULL or at.ndim != x.ndim or memcmp(at.shape, x.shape_, x.ndim * sizeof(Py_ssize_t)) != 0:
        found = make_count(x)
        Py_INCREF(found)
        Py_XDECREF(at.count)
        at.count, at.ndim = <PyObject *> found, x.ndim
        memcpy(at.shape, x.shape_, x.ndim * sizeof(Py_ssize_t))
    return <object> at.count


cdef object make_count(Array x):
    found = int.__new__(count_class, x.size)
    found.shape = shape_of(x)
    return found


# ----- ~ & | ^ of masks and integers -----------------------------------------------------------------------------

def _bitwise(str op, function):
    def results(*xs):
        for x in xs:
            if x.dtype.kind not in "bi":
                raise DTypeError(f"{op}: of masks and integers, not of {x.dtype}; compare first: (x > 0) & (y > 0)")
        try:
            shape = np.broadcast_shapes(*[x.shape for x in xs])
        except ValueError:
            raise ShapeError(f"{op}: shapes {xs[0].shape} and {xs[1].shape} do not broadcast") from None
        return [(shape, np.result_type(*[x.dtype for x in xs]))]

    return HostOperation(op, results, lambda out, *arrays: function(*arrays, out=out))


cdef dict BITWISE = {"and": _bitwise("and", np.bitwise_and), "or": _bitwise("or", np.bitwise_or),
                     "lshift": _bitwise("lshift", np.left_shift), "rshift": _bitwise("rshift", np.right_shift),
                     "xor": _bitwise("xor", np.bitwise_xor), "invert": _bitwise("invert", np.invert)}


# ----- helpers of the methods ------------------------------------------------------------------------------------

cdef Array reversed_axes(Array x):
    cdef int order[MGX_MAXDIM]
    cdef int d
    for d in range(x.ndim):
        order[d] = x.ndim - 1 - d
    return v.permute(x, order)


cdef object read_number(Array x, str op):
    """The single number in ``x``."""
    if x.size != 1:
        raise ShapeError(f"{op}: a tensor of shape {shape_of(x)} is not a single number")
    refuse_traced(op, x)
    return number_of(x)


cdef object number_of(Array x):
    """The number in ``x``, which is one, for a person."""
    if capture:
        note_reading()                          # a function that is being captured decides by what it reads
    if x.dtype_ == MGX_F32:
        return <double> (<float *> x.data)[0]
    if x.dtype_ == MGX_F64:
        return (<double *> x.data)[0]
    if x.dtype_ == MGX_I64:
        return (<int64_t *> x.data)[0]
    return x.data[0] != 0


cdef tuple axes_tuple(Axes axes, int ndim):
    """A set of axes as a tuple."""
    return tuple([d for d in range(ndim) if axes >> d & 1])


cdef bint divisor_was_explained = False


cdef double divisor_of(str op, Array x, Axes axes, object ddof, object correction, object unbiased) except? -1:
    """n - ddof for the n numbers of a variance, nan if that is none. ``ddof``, also called correction, is 0 unless
    given; the first call in a process that does not say it warns, for torch's is 1."""
    global divisor_was_explained
    cdef Py_ssize_t n = count_reduced(x, axes)
    if unbiased is not None:
        unbiased = 1 if unbiased else 0
    if (ddof is not None) + (correction is not None) + (unbiased is not None) > 1:
        raise OptionError(f"{op}: ddof={ddof}, correction={correction} and unbiased={unbiased} are names of one "
                          "argument")
    ddof = correction if correction is not None else unbiased if unbiased is not None else ddof
    if ddof is None:
        ddof = 0
        if not divisor_was_explained:
            divisor_was_explained = True
            warn(f"{op}: divides by n, as in NumPy and the array API; torch divides by n - 1, which is correction=1 "
                 "(correction=0 says that n is meant)", DifferenceWarning, stacklevel=1)
    ddof = v.real(op, "ddof", ddof)
    return n - ddof if n > ddof else float("nan")


class Extremum(NamedTuple):
    """What ``max`` and ``min`` give along an axis."""
    values: object
    indices: object


cdef object find_extremum(Array x, str op, object axis, object other, bint kept, double sign):
    cdef Array at, values
    if other is None and isinstance(axis, (Array, np.ndarray)):     # as torch: of two tensors
        axis, other = None, axis
    if other is not None:
        if axis is not None or kept:
            raise OptionError(f"{op}: of two tensors there is neither an axis nor keepdim")
        return apply(MGX_maximum if sign > 0 else MGX_minimum, x, other, None)
    if axis is None:
        return amax(x, axes_of(op, None, x.ndim), kept, sign)
    if x.ndim == 0:
        v.axis_of(op, axis, 1)
        return Extremum(v.index(x, ...), from_object(0, None, True))
    d = v.axis_of(op, axis, x.ndim)
    at = find_position(x, sign, op, d, True)
    if x.needs_grad and grad_enabled():
        values = v.gather(x, d, at)
    else:
        values = amax(x, <Axes> 1 << <int> d, True, sign)
    if kept:
        return Extremum(values, at)
    return Extremum(squeeze_axes(values, <Axes> 1 << <int> d), squeeze_axes(at, <Axes> 1 << <int> d))


def _position(x, find, axis, kept):
    if x.size <= PART:
        return find(x, axis=axis, keepdims=kept)
    if axis is None:
        first = _position(x.reshape(-1), find, 0, False)
        return first.reshape((1,) * x.ndim) if kept else first
    out = np.empty([1 if d == axis else n for d, n in enumerate(x.shape)], np.int64)
    by_parts(_position_part, out, x, axis, (find, axis))
    return out if kept else out.squeeze(axis)


def _position_part(out, x, find, axis):
    found = [find(x[part], axis, keepdims=True) + part[axis].start for part in stretches(x, axis)]
    if len(found) > 1:                              # of the first ones of the stretches the first
        firsts = np.concatenate(found, axis)
        found = [np.take_along_axis(firsts, find(np.take_along_axis(x, firsts, axis), axis, keepdims=True), axis)]
    out[...] = found[0]


cdef Array find_position(Array x, double sign, str op, object axis, bint kept):
    """Where the first largest element is (sign 1), or the first smallest (sign -1), along an axis or of all."""
    cdef int d = -1 if axis is None else v.axis_of(op, axis, x.ndim)
    cdef bint all = d < 0 or x.ndim == 0
    if x.size == 0 and (all or x.shape_[d] == 0):
        raise ShapeError(f"{op}: of no elements, shape {shape_of(x)}")
    if x.dtype_ <= MGX_F64:
        return argmax(x, all_axes(x.ndim) if all else <Axes> 1 << d, kept, sign)
    return compute_on_host(_position, (x, np.argmax if sign > 0 else np.argmin, None if all else d, kept))


cdef Array divide_and_floor(object a, object b):
    """a // b: the quotient of what fmod leaves is whole but for rounding, which floor(a / b) is not."""
    a, b = [x if isinstance(x, (Array, int, float, np.integer, np.floating)) else to_array(x) for x in (a, b)]
    if all([x.dtype.kind != "f" if hasattr(x, "dtype") else isinstance(x, int) for x in (a, b)]):
        try:
            return compute_on_host(np.floor_divide, (a, b))
        except ValueError as error:
            raise ShapeError(f"floor_divide: {error}") from None
        except OverflowError as error:
            raise DTypeError(f"floor_divide: {error}") from None
    cdef Array over = apply(MGX_fmod, a, b, None), quotient = apply(MGX_div, a, b, None)
    cdef Array whole = apply(MGX_round, apply(MGX_div, apply(MGX_sub, a, over, None), b, None), None, None)
    below = apply(MGX_lt, apply(MGX_mul, apply(MGX_sign, over, None, None), b, None), 0.0, None)
    whole = apply(MGX_where, below, apply(MGX_sub, whole, 1.0, None), whole)
    if not isinstance(b, Array):
        return whole if b else quotient
    return apply(MGX_where, apply(MGX_ne, b, 0.0, None), whole, quotient)


cdef object zero_of(Array x):
    """0 as a number that leaves the dtype of ``x`` as it is."""
    return 0.0 if x.dtype_ <= MGX_F64 else 0 if x.dtype_ == MGX_I64 else False


cdef object whole_number(str op, Array x, object number):
    """``number`` as an integer that ``x``, which is of integers or a mask, stores as it is."""
    cdef object found = v.real(op, "what is written", number)
    if found - found != 0 or found != int(found):
        raise DTypeError(f"{op}: {number} cannot be stored as {dtype_of(x.dtype_)}")
    found = int(found if isinstance(number, float) or not hasattr(number, "__int__") else number)
    if not -2**63 <= found < 2**63:
        raise DTypeError(f"{op}: {number} cannot be stored as {dtype_of(x.dtype_)}")
    return found


cdef Array triangle(Array x, str op, object cut, object k):
    if x.ndim < 2:
        raise ShapeError(f"{op}: of shape {shape_of(x)}, which has no rows and columns")
    rows, columns = x.shape_[x.ndim - 2], x.shape_[x.ndim - 1]
    mask = cut(np.ones((rows, columns), bool), min(max(v.integer(op, "a diagonal", k), -rows), columns))
    return apply(MGX_where, from_object(mask, None, capture != 0), x, zero_of(x))


# ----- functions of several tensors ------------------------------------------------------------------------------

cdef list tensors_of(str op, object tensors):
    """The tensors of a sequence, of which there is at least one."""
    try:
        tensors = list(tensors)
    except TypeError:
        raise DTypeError(f"{op}: of a list of tensors, not {described(tensors)}") from None
    if not tensors:
        raise ShapeError(f"{op}: of no tensors")
    return [to_array(x) for x in tensors]


def concat(tensors, axis=0, *, dim=None):
    """Join tensors along ``axis``; the other axes agree. An empty one of shape (0,) goes with any.

    >>> import microgradx as mgx
    >>> mgx.concat([mgx.Tensor([1.0]), mgx.Tensor([2.0, 3.0])])
    Tensor([1., 2., 3.])
    """
    cdef Array joined
    cdef int dtype
    cdef list xs = tensors_of("concat", tensors), shaped
    shaped = [x for x in xs if (<Array> x).ndim != 1 or (<Array> x).shape_[0]]
    if not shaped or (<Array> shaped[0]).ndim == 1:
        shaped = xs
    joined = v.concat(shaped, v.axis_of("concat", axis if dim is None else dim, (<Array> shaped[0]).ndim))
    dtype = joined.dtype_
    for x in xs:
        dtype = v.wider_dtype(dtype, (<Array> x).dtype_)
    return joined if dtype == joined.dtype_ else v.convert(joined, dtype)


def stack(tensors, axis=0, *, dim=None):
    """Join tensors of one shape along a new axis.

    >>> import microgradx as mgx
    >>> mgx.stack([mgx.Tensor(1.0), mgx.Tensor(2.0)])
    Tensor([1., 2.])
    """
    xs = tensors_of("stack", tensors)
    for x in xs:
        if not same_shape(<Array> x, <Array> xs[0]):
            raise ShapeError(f"stack: shapes {shape_of(<Array> xs[0])} and {shape_of(<Array> x)} differ")
    d = v.axis_of("stack", axis if dim is None else dim, (<Array> xs[0]).ndim + 1)
    return v.concat([(<Tensor> x).unsqueeze(d) for x in xs], d)


def pad(x, pad_width, value=0.0):
    """``value`` before and after: ``pad_width`` is (before, after) for every axis, one such pair per axis, or one
    number for both ends of all.

    >>> import microgradx as mgx
    >>> mgx.pad(mgx.Tensor([1.0]), (1, 2))
    Tensor([0., 1., 0., 0.])
    """
    cdef Array a = to_array(x)
    try:
        widths = np.broadcast_to(pad_width, (a.ndim, 2))
    except ValueError:
        raise ShapeError(f"pad: {pad_width!r} is not a pair for each of the {a.ndim} axes") from None
    if widths.dtype.kind not in "iu":
        raise DTypeError(f"pad: widths are integers, not {pad_width!r}")
    widths = [tuple(pair) for pair in widths.tolist()]
    for d, (before, after) in enumerate(widths):
        if min(before, after) < 0:
            raise ShapeError(f"pad: widths are not negative: {widths!r}")
        if before + a.shape_[<int> d] + after > PY_SSIZE_T_MAX:
            raise ShapeError(f"pad: axis {d} of shape {shape_of(a)} would be of length "
                             f"{before + a.shape_[<int> d] + after} with {before} before it and {after} behind it "
                             f"(> {PY_SSIZE_T_MAX})")
    if a.dtype_ > MGX_F64 and not isinstance(value, bool):
        value = whole_number("pad", a, value)
        if abs(value) > 2**53:                                          # more digits than a double has
            return compute_on_host(_pad, (a, widths, value))
    return v.pad(a, widths, v.real("pad", "value", value))


def _pad(x, widths, value):
    return np.pad(x, widths, constant_values=value) if widths else x.copy()


def linear_(x, weight, bias=None):
    return linear(to_array(x), to_array(weight), None if bias is None else to_array(bias))


def cross_entropy_(logits, labels, mean=True):
    return cross_entropy_mean(to_array(logits), to_array(labels), mean)


def tensor(data, *, dtype=None, device=None, requires_grad=False):
    """A tensor of a copy of ``data``, whose dtype is found: floats make the default dtype, integers int64, flags bool.

    Raises as ``Tensor`` does.

    >>> import microgradx as mgx
    >>> mgx.tensor([1, 2]), mgx.tensor(0.5), mgx.tensor([True, False])
    (Tensor([1, 2], dtype=int64), Tensor(0.5), Tensor([ True, False], dtype=bool))
    """
    cdef Array out
    check_device("tensor", device)
    if isinstance(data, Array):
        out = Tensor(data, dtype=dtype)
    else:
        out = from_object(data, dtype, True)
    out.requires_grad = checked_flag("tensor", requires_grad)
    return out


def as_tensor(data, dtype=None, device=None):
    """A tensor as it is, over the memory of an array of NumPy's where it can be, else ``tensor(data)``.

    >>> import numpy as np
    >>> import microgradx as mgx
    >>> numbers = np.zeros(2)
    >>> shared = mgx.as_tensor(numbers)
    >>> numbers[0] = 3.0
    >>> shared
    Tensor([3., 0.], dtype=float64)
    """
    check_device("as_tensor", device)
    if isinstance(data, Array):
        return data if dtype is None else data.astype(dtype)
    return from_object(data, dtype, not isinstance(data, np.ndarray))


cdef object check_device(str op, object device):
    if device is not None and not is_device(op, device):
        raise OptionError(f"{op}: device={device!r} is none; microgradx runs on the CPU, 'cpu'")


def from_numpy(array):
    """A tensor that shares the array's memory: native, aligned float32, float64, int64 or bool; ``Tensor(array)``
    copies any other. A write through NumPy is not seen by the version counter; of a read-only array the tensor is
    read-only too."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: a NumPy array, not {type(array).__name__}")
    return share_ndarray("from_numpy", array)


def from_dlpack(x):
    """A tensor that shares the memory of ``x``, of any library that speaks DLPack: torch, JAX, NumPy, CuPy's host
    arrays. What holds for ``from_numpy`` holds here. NumPy before 2.3 reads what it is given, so that with it the
    tensor cannot be written to.

    Raises ``DTypeError`` for what has no ``__dlpack__``, is not in the processor's memory, requires a gradient, or is
    none of float32, float64, int64 and bool.

    >>> import numpy as np
    >>> import microgradx as mgx
    >>> array = np.zeros(2)
    >>> t = mgx.from_dlpack(array)
    >>> array += 1
    >>> t
    Tensor([1., 1.], dtype=float64)
    """
    if not hasattr(x, "__dlpack__"):
        raise DTypeError(f"from_dlpack: an object with __dlpack__, not {type(x).__name__}")
    try:
        array = np.from_dlpack(x)
    except (BufferError, RuntimeError) as error:
        raise DTypeError(f"from_dlpack: {type(x).__name__} does not share its memory: {error}") from None
    return share_ndarray("from_dlpack", array)


cdef Array share_ndarray(str op, object array):
    """The memory of a NumPy array as it lies."""
    if not array.dtype.isnative or not array.flags.aligned or dtype_of(dtype_code(array.dtype)) != array.dtype:
        raise DTypeError(f"{op}: memory of dtype {array.dtype.str} cannot be shared as it lies; Tensor(array) copies")
    return from_object(array, array.dtype, False)
