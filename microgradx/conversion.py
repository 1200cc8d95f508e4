"""What a tensor is and what it is turned into, in torch's words: ``x.size(0)``, ``x.dim()``, ``x.long()``, ``x.to(y)``.

All of these are methods of ``Tensor``, the same objects; some are functions too.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradx._core.array import get_default_dtype
from microgradx._core.creation import lengths
from microgradx._core.tensor import Tensor, attach, count_by, count_of, tensor
from microgradx._core.tensor import tensor as make
from microgradx._core.views import axis_of
from microgradx.creation import empty, full, ones, zeros
from microgradx.devices import CPU
from microgradx.errors import DTypeError, OptionError, ShapeError, described, is_device
from microgradx.names import ABSENT, accept, make_public
from microgradx.typing import Data, DType, Lengths

__all__ = ["Count", "Size", "angle", "can_cast", "conj", "conj_physical", "finfo", "iinfo", "is_complex",
           "is_floating_point", "is_nonzero", "is_same_size", "is_signed", "is_tensor", "numel", "promote_types",
           "real", "resolve_conj", "resolve_neg", "result_type", "scalar_tensor", "t"]


# ----- shapes ----------------------------------------------------------------------------------------------------

class Count(int):
    """How many elements, a number that can be called: ``x.size`` is NumPy's, ``x.size()`` and ``x.size(0)`` torch's.

    >>> import microgradx as mgx
    >>> x = mgx.zeros(2, 3)
    >>> x.size, x.size(), x.size(-1)
    (6, (2, 3), 3)
    """
    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        """The shape, or the length of an axis."""
        if dim is None:
            return self.shape
        try:
            return self.shape[dim.__index__()]
        except (AttributeError, IndexError):
            return axis_of("size", dim, len(self.shape))            # which says what is wrong

    def __reduce__(self) -> Any:
        return int, (int(self),)


Size: Any = tuple                       # what torch calls a shape
count_by(Count)


def numel(x: Tensor) -> int:
    """How many elements."""
    return int(x.size)


def dim(x: Tensor) -> int:
    """How many axes."""
    return x.ndim


def stride(x: Tensor, dim: int | None = None) -> Any:
    """The steps of the axes, or of one, in elements; ``x.strides`` has them in bytes."""
    steps = tuple(n // x.dtype.itemsize for n in x.strides)
    return steps if dim is None else steps[axis_of("stride", dim, x.ndim)]


def is_contiguous(x: Tensor) -> bool:
    """Do the elements follow each other in memory, the last axis first?"""
    step = x.dtype.itemsize
    for n, stride in zip(reversed(x.shape), reversed(x.strides)):
        if n != 1 and stride != step and x.numel():
            return False
        step *= n
    return True


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or a number as it is. A view.

    >>> import microgradx as mgx
    >>> mgx.zeros(2, 3).t().shape
    (3, 2)
    """
    if x.ndim > 2:
        raise ShapeError(f"t: of at most 2 axes, not of shape {x.shape}; x.mT transposes matrices, x.T all axes")
    return x.T if x.ndim == 2 else x[...]


def view(x: Tensor, *shape: Any) -> Tensor:
    """``x.reshape(*shape)``; a dtype in place of the lengths reads the same bytes as another dtype is refused."""
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type)):
        raise OptionError(f"view: of a shape, not of the dtype {shape[0]}; x.astype({np.dtype(shape[0]).name!r}) "
                          "converts")
    return x.reshape(*shape)


# ----- dtypes and devices ----------------------------------------------------------------------------------------

def to(x: Tensor, *target: Any, dtype: DType = None, device: Any = None, copy: bool = False,
       non_blocking: bool = False) -> Tensor:
    """In another dtype, by name or as that of a tensor: ``x.to("float64")``, ``x.to(y)``; "cpu" is where it is.

    A tensor that has the dtype is returned as it is, unless ``copy`` is True. ``non_blocking`` has nothing to wait
    for. Both may follow by position, ``x.to("cpu", "float64", False, True)``. Raises ``OptionError`` for another
    device.
    """
    options = [given for given in target if isinstance(given, bool)]
    copy = copy or options[1:2] == [True]
    for given in (*(t for t in target if not isinstance(t, bool)), device):
        if isinstance(given, Tensor):
            dtype = given.dtype
        elif given is not None and not is_device("to", given):
            dtype = given
    found = x if dtype is None else x.astype(dtype)
    return found.clone() if copy and found is x else found


def as_dtype(name: str, dtype: str) -> Any:
    """The method ``x.long()`` and its like."""
    def convert(x: Tensor) -> Tensor:
        return x.astype(dtype)
    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"``x.astype({dtype!r})``" + ("." if name not in ("int", "short", "char", "byte") else
                                                    ": integers have one width.")
    return convert


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """``x`` in the dtype of another tensor."""
    if not isinstance(other, Tensor):
        raise DTypeError(f"type_as: the dtype of a Tensor is taken, not of {described(other)}; x.astype(dtype) "
                         "names one")
    return x.astype(other.dtype)


def type_of(x: Tensor, dtype: Any = None) -> Any:
    """``x`` in another dtype, also one that is told as ``FloatTensor``; or the name of its own, "torch.FloatTensor" in
    torch."""
    name = getattr(dtype, "__name__", dtype)
    if isinstance(name, str) and name.endswith("Tensor"):
        dtype = DTYPES_OF.get(name.removeprefix("torch.").removesuffix("Tensor").lower(), dtype)
    return str(x.dtype) if dtype is None else x.astype(dtype)


def cpu(x: Tensor) -> Tensor:
    """The tensor, which is on the CPU."""
    return x


def is_floating_point(x: Tensor) -> bool:
    """Is the dtype float32 or float64?"""
    return x.dtype.kind == "f"


def is_tensor(x: object) -> bool:
    """Is that a Tensor?"""
    return isinstance(x, Tensor)


def is_complex(input: Tensor) -> bool:
    """Does it hold complex numbers? There are none."""
    return False


def real(input: Tensor) -> Tensor:
    """The tensor itself, which holds real numbers."""
    return input


def angle(input: Tensor) -> Tensor:
    """Pi where a number is negative, 0 where it is not, nan where it is nan; integers and masks give the default dtype.

    >>> import microgradx as mgx
    >>> mgx.angle(mgx.Tensor([2.0, -1.0]))
    Tensor([0.       , 3.1415927])
    """
    x = input if input.dtype.kind == "f" else input.astype(get_default_dtype())
    return (x < 0).where(math.pi, x.isnan().where(x * 0.0, 0.0))        # a gradient that is 0


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Have both the same shape?"""
    return input.shape == other.shape


def sum_to_size(x: Tensor, *size: Lengths) -> Tensor:
    """The sums over the axes along which ``size`` was broadcast to the shape of x.

    >>> import microgradx as mgx
    >>> mgx.ones(2, 3).sum_to_size(3)
    Tensor([2., 2., 2.])
    """
    shape = lengths("sum_to_size", size)
    ahead = x.ndim - len(shape)
    if ahead < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[ahead:], strict=True)):
        raise ShapeError(f"sum_to_size: {shape} does not broadcast to {x.shape}")
    axes = [*range(ahead), *(ahead + d for d, n in enumerate(shape) if n != x.shape[ahead + d])]
    return x.sum(tuple(axes)).reshape(shape) if axes or not x.ndim else x.reshape(shape)


def scalar_tensor(s: float, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A tensor without axes, of the default dtype unless told.

    >>> import microgradx as mgx
    >>> mgx.scalar_tensor(2)
    Tensor(2.)
    """
    return full((), s, dtype=dtype or get_default_dtype(), requires_grad=requires_grad)


def is_signed(input: Tensor) -> bool:
    """Has it negative numbers? All have but masks."""
    return input.dtype.kind != "b"


def is_nonzero(input: Tensor) -> bool:
    """Is the one number of a tensor not 0? Raises ``ShapeError`` for several.

    >>> import microgradx as mgx
    >>> mgx.is_nonzero(mgx.tensor([0.5]))
    True
    """
    if input.size != 1:
        raise ShapeError(f"is_nonzero: of one number, not of shape {input.shape}")
    return bool(input.item() != 0)


DTYPES = [np.dtype(name) for name in ("bool", "int64", "float32", "float64")]    # each is wider than those before it


def known_dtype(op: str, dtype: DType) -> np.dtype[Any]:
    """One of the four dtypes; raises ``DTypeError`` for another."""
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{op}: of a dtype, not of {described(dtype)}") from None
    if found not in DTYPES:
        raise DTypeError(f"{op}: of bool, int64, float32 or float64, not of {found}")
    return found


def promote_types(type1: DType, type2: DType) -> np.dtype[Any]:
    """The dtype of a result of two tensors that have these: the wider one of bool, int64, float32, float64.

    >>> import microgradx as mgx
    >>> mgx.promote_types(mgx.int64, mgx.float32)
    dtype('float32')
    """
    return max((known_dtype("promote_types", dtype) for dtype in (type1, type2)), key=DTYPES.index)


def can_cast(from_: DType, to: DType) -> bool:
    """May a result of the first dtype be written into a tensor of the other: not floats into integers, nor numbers into
    masks.

    >>> import microgradx as mgx
    >>> mgx.can_cast(mgx.float64, mgx.float32), mgx.can_cast(mgx.float32, mgx.int64)
    (True, False)
    """
    first, second = ("bif".index(known_dtype("can_cast", dtype).kind) for dtype in (from_, to))
    return first <= second


def result_type(tensor: Any, other: Any) -> np.dtype[Any]:
    """The dtype of a result of two operands, tensors or numbers: a number widens integers to floats and masks to
    numbers, and nothing else.

    >>> import microgradx as mgx
    >>> mgx.result_type(mgx.ones(2, dtype="float64"), 1), mgx.result_type(mgx.tensor([1, 2]), 0.5)
    (dtype('float64'), dtype('float32'))
    """
    first, second = (x.dtype if isinstance(x, Tensor) else make(x).dtype for x in (tensor, other))
    if isinstance(tensor, Tensor) != isinstance(other, Tensor) and first.kind == second.kind:
        return first if isinstance(tensor, Tensor) else second
    return promote_types(first, second)


class finfo:
    """The limits of float32 or float64, Python numbers: ``eps``, ``max``, ``min``, ``tiny``, ``resolution``, ``bits``.

    Raises ``DTypeError`` for another dtype.

    >>> import microgradx as mgx
    >>> mgx.finfo(mgx.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: DType = None) -> None:
        found = np.dtype(type or get_default_dtype())
        if found.kind != "f":
            raise DTypeError(f"finfo: of float32 or float64, not of {found}")
        limits = np.finfo(found)
        self.dtype, self.bits = found.name, limits.bits
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)
        self.resolution = float(limits.resolution)

    def __repr__(self) -> str:
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
                f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})")


class iinfo:
    """The limits of integers, which are int64: ``max``, ``min``, ``bits``. Raises ``DTypeError`` for another dtype.

    >>> import microgradx as mgx
    >>> mgx.iinfo(mgx.int64).max
    9223372036854775807
    """

    def __init__(self, type: DType) -> None:
        found = np.dtype(type)
        if found.kind != "i":
            raise DTypeError(f"iinfo: of int64, not of {found}")
        limits = np.iinfo(found)
        self.dtype, self.bits, self.max, self.min = found.name, limits.bits, int(limits.max), int(limits.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def element_size(x: Tensor) -> int:
    """The bytes of an element."""
    return x.dtype.itemsize


def absent(name: str) -> Any:
    """A method that cannot be here: it raises the sentence of the table ``names.ABSENT``."""
    def refuse(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise OptionError(f"{name}: {ABSENT[name]}")
    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Not here: {ABSENT[name]}."
    return refuse


# ----- new tensors of the same dtype -------------------------------------------------------------------------------

def _like(maker: Any) -> Any:
    def make(x: Tensor, *shape: Lengths, dtype: DType = None, requires_grad: bool = False) -> Tensor:
        made: Tensor = maker(*shape, dtype=dtype or x.dtype, requires_grad=requires_grad)
        return made
    make.__name__ = make.__qualname__ = f"new_{maker.__name__}"
    make.__doc__ = f"``mgx.{maker.__name__}(*shape)`` of the dtype of this tensor."
    return accept(make)


def new_full(x: Tensor, shape: Lengths, value: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """``mgx.full(shape, value)`` of the dtype of this tensor."""
    return full(shape, value, dtype=dtype or x.dtype, requires_grad=requires_grad)


def new_tensor(x: Tensor, data: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """``mgx.tensor(data)`` of the dtype of this tensor."""
    return tensor(data, dtype=dtype or x.dtype, requires_grad=requires_grad)


# ----- where it is --------------------------------------------------------------------------------------------------

def get_device(x: Tensor) -> int:
    """The number of its device: -1, for the CPU has none."""
    return -1


def pin_memory(x: Tensor, device: Any = None) -> Tensor:
    """Itself: memory is pinned for copies to other devices, and there is none."""
    if device is not None and not is_device("pin_memory", device):
        raise OptionError(f"pin_memory: device={device!r} is none; microgradx runs on the CPU, 'cpu'")
    return x


def is_pinned(x: Tensor) -> bool:
    """Is its memory pinned? It is not."""
    return False


def share_memory_(x: Tensor) -> Tensor:
    """Itself: threads share its memory."""
    return x


def is_shared(x: Tensor) -> bool:
    """Do processes share its memory? They do not."""
    return False


# ----- in place ----------------------------------------------------------------------------------------------------

def detach_(x: Tensor) -> Tensor:
    """Without its graph from now on, which cannot be here: a tensor keeps its graph."""
    if x.requires_grad and not x.is_leaf:
        raise OptionError("detach_: a tensor keeps its graph; x = x.detach() is one without")
    return x.requires_grad_(False)


SHAPED_IN_PLACE = ("unsqueeze_", "squeeze_", "t_", "transpose_", "swapaxes_", "swapdims_", "resize_", "resize_as_")
DTYPES_OF = {"long": "int64", "int": "int64", "short": "int64", "bool": "bool", "double": "float64",
             "float": "float32"}

make_public(__name__)
attach({name: as_dtype(name, dtype) for name, dtype in DTYPES_OF.items()})
attach({f.__name__: f for f in (numel, dim, stride, is_contiguous, t, view, to, type_as,
                                cpu, is_floating_point, is_complex, is_signed, is_nonzero, element_size,
                                get_device, pin_memory, is_pinned, share_memory_, is_shared, new_full, new_tensor,
                                detach_)})
attach({f.__name__: f for f in map(_like, (zeros, ones, empty))})
conj = conj_physical = resolve_conj = resolve_neg = real         # of real numbers
attach({f.__name__: f for f in (angle, is_same_size, sum_to_size)})
attach({name: real for name in ("conj", "conj_physical", "resolve_conj", "resolve_neg")})
attach({"real": property(real), "mH": property(lambda x: x.mT), "H": property(t)})
attach({"ndimension": dim, "nelement": numel, "type": type_of, "new": lambda x, *data: (
    x.new_tensor(data[0]) if len(data) == 1 and not isinstance(data[0], int) else x.new_zeros(*data))})
attach({name: absent(name) for name in ("half", "bfloat16", "cuda")})
attach({"size": property(count_of), "device": property(lambda x: CPU),
        "nbytes": property(lambda x: x.dtype.itemsize * x.size), "itemsize": property(element_size),
        "is_cpu": property(lambda x: True)})
attach({name: property(lambda x: False) for name in (
    "is_cuda", "is_mps", "is_meta", "is_sparse", "is_quantized", "is_nested")})
attach({name: absent(name) for name in SHAPED_IN_PLACE})
