"""What users of torch and NumPy type, and where it leads: the one table of other names.

Functions and methods have the names and keywords that their signatures show. What people type besides stands here, as
data:

- ``KEYWORDS``: another library's name of an argument -> the names that it may have here. ``public`` goes by it.
- ``ALIASES``: another name of a function or method -> its name here.
- ``ABSENT``: what cannot be here -> the sentence that says so, and what to type.

The page docs/differences.md is checked against it, and ``tests/test_names.py`` has a line of torch for each name.
"""
from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ParamSpec, TypeAlias, TypeVar

from microgradx._core.public import Public
from microgradx.errors import ArgumentError, is_device, named

P = ParamSpec("P")
R = TypeVar("R")
Parameters: TypeAlias = Mapping[str, inspect.Parameter]

__all__ = ["ABSENT", "ALIASES", "KEYWORDS", "REMOVED", "accept", "make_public", "public"]

# Another name of an argument: the names here, of which a function has at most one.
KEYWORDS: dict[str, tuple[str, ...]] = {
    # axes
    "dim": ("axis", "axes"), "dims": ("axes", "axis"), "keepdim": ("keepdims",), "dim0": ("axis0",),
    "dim1": ("axis1",), "dim2": ("axis2",), "axis": ("axes", "dim"),
    "axis2": ("axis1",), "diagonal": ("k",), "offset": ("k",),
    "dimension": ("axis",),
    # operands
    "self": ("x", "a"), "input": ("x", "a", "logits", "values"), "other": ("y", "b"), "tensor2": ("other", "b"),
    "mat2": ("other", "b"), "vec": ("other", "b"), "vec2": ("other", "b"), "exponent": ("other",), "end": ("stop",),
    "A": ("a", "x"), "B": ("b",), "src": ("source",), "tensor": ("x",), "indices": ("index", "indices_or_sections"),
    "ids": ("input",), "tensors": ("x",), "fill_value": ("value",), "size": ("shape",), "values": ("x",),
    "y_true": ("target",), "y_pred": ("input",), "value": ("source", "val"),
    "number": ("value",), "requires_grad": ("on",),
    # numbers and options
    "min": ("lo",), "max": ("hi",), "a_min": ("lo", "min"), "a_max": ("hi", "max"), "lo": ("min",), "hi": ("max",),
    "p": ("ord",), "correction": ("ddof",), "unbiased": ("ddof",), "steps": ("num",), "num_classes": ("classes",),
    "negative_slope": ("slope",), "split_size_or_sections": ("sizes",), "split_size": ("sizes",),
    "generator": ("rng",), "in_dims": ("in_axes",), "out_dims": ("out_axes",), "func": ("fn",),
    "random_state": ("rng",), "seed": ("rng",),
    "sections": ("indices_or_sections",),
    # layers: the names that this library had for them before
    "n_in": ("in_features",), "n_out": ("out_features",), "count": ("num_embeddings", "num_parameters"),
    "width": ("embedding_dim",), "start": ("init",), "start_axis": ("start_dim",), "end_axis": ("end_dim",),
    "labels": ("tensor", "target"), "classes": ("num_classes",), "low": ("a",), "high": ("b",),
    "activation": ("nonlinearity",), "slope": ("negative_slope",),
    # torch's former names of a reduction
    "size_average": ("reduction",), "reduce": ("reduction",),
}
CONVERSIONS: dict[str, Callable[[Any], Any]] = {           # of the value, where it is told in other words
    "unbiased": int, "size_average": lambda on: "sum" if on is False else "mean",
    "reduce": lambda on: "none" if on is False else "mean"}

# Another name of a function or method: the name here.
ALIASES: dict[str, str] = {
    "absolute": "abs", "negative": "neg", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctanh": "atanh", "arctan2": "atan2", "divide": "div", "true_divide": "div",
    "multiply": "mul", "subtract": "sub", "power": "pow", "fix": "trunc", "expit": "sigmoid", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
}

# Names that 0.1.0 had and that are gone, and what takes their place. One that a release has goes through a deprecation.
REMOVED: dict[str, str] = {
    "microgradx.interop.RENAMED": "microgradx.numpy_functions",
    "microgradx.flow.torch.same": "flow.diagnose takes modules of torch as they are",
    **{f"microgradx.flow.prescriptions.Prescription.{name}": "Prescription.make, which makes lines of code"
       for name in ("change", "when")},
    **{f"microgradx.flow.prescriptions.Run{name}": "microgradx.flow.run.Run"
       for name in ("", ".clip", ".copy", ".optimizer")},
    "microgradx.flow.verdicts.RATES": "microgradx.flow.settings.RATES",
    "microgradx.flow.watch.watch": "microgradx.flow.watch, the function",
    **{f"microgradx.flow.watch.Watch.{name}": "a method of microgradx.flow.engines.Engine"
       for name in ("activation", "array", "kept", "tensor")},
    **{f"microgradx.nn.{name}.method": "microgradx.nn.layers.MODULES" for name in (
        "LogSoftmax", "Softmax", "layers.LogSoftmax", "layers.Softmax")},
    **{f"microgradx.optim.{module}Optimizer.{name}": "a rule of the optimizer's class, which your own ones lack"
       for module in ("", "optimizers.") for name in ("kernel", "numbers", "ranges", "slots")}}

# What cannot be here: the sentence that says so.
ABSENT: dict[str, str] = {
    "cuda": "there is no CUDA: microgradx runs on the CPU, and x.to(device) takes mgx.device('cpu')",
    "half": "there is no half precision: x.float() is float32, the smallest",
    "bfloat16": "there is no half precision: x.float() is float32, the smallest",
    "float16": "there is no half precision: float32 is the smallest",
    "jit": "there is no script compiler: microgradx.compile captures what a function computes",
    "sparse": "there are no sparse tensors: embedding and gather read rows by number",
    "complex64": "there are no complex numbers: keep the real and imaginary parts as two tensors",
    "complex128": "there are no complex numbers: keep the real and imaginary parts as two tensors",
    "cfloat": "there are no complex numbers: keep the real and imaginary parts as two tensors",
    "fft": "there is no Fourier transform with a graph: numpy.fft takes x.detach().numpy()",
    **{f"{name}_": f"a tensor keeps its shape: x = x.{name}(...) gives another one"
       for name in ("unsqueeze", "squeeze", "t", "transpose", "swapaxes", "swapdims")},
    **dict.fromkeys(("resize_", "resize_as_"), "a tensor keeps its shape: x = mgx.empty(shape) gives another one"),
    "onnx": "there is no export to ONNX: microgradx.save writes the parameters as safetensors",
    "quantization": "there is no quantization: float32 is the smallest",
    # of nn and nn.functional
    **dict.fromkeys(("CTCLoss", "ctc_loss"),
                    "there is no sum over alignments: cross_entropy takes a label for each step"),
    **dict.fromkeys(("LPPool1d", "LPPool2d", "LPPool3d", "lp_pool1d", "lp_pool2d"),
                    "there is no pooling by power means: avg_pool2d(x.abs()**p, n) * n * n is the sum of powers"),
    **dict.fromkeys(("Conv3d", "ConvTranspose3d", "MaxPool3d", "AvgPool3d", "AdaptiveAvgPool3d", "AdaptiveMaxPool3d",
                     "conv3d", "conv_transpose3d", "max_pool3d", "avg_pool3d"),
                    "convolution and pooling have one or two axes behind the channels"),
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "max_unpool1d", "max_unpool2d"),
                    "there is no unpooling: x.scatter writes values at the indices that max_pool2d gives"),
    **dict.fromkeys(("LazyLinear", "LazyConv1d", "LazyConv2d", "LazyBatchNorm1d", "LazyBatchNorm2d",
                     "UninitializedParameter"), "there are no lazy layers: tell the number of inputs"),
    **dict.fromkeys(("DataParallel", "DistributedDataParallel", "SyncBatchNorm"),
                    "there is one device, the CPU: use the module itself"),
}


def accept(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which may be called with other libraries' names of its arguments, by the table ``KEYWORDS``.

    ``input=`` is the first argument, whatever it is called here; ``device=`` may be the CPU. Raises ``ArgumentError``
    for a keyword that leads nowhere, and says which it might be, and for two names of one argument.

    >>> from microgradx.names import accept
    >>> @accept
    ... def total(x, axis=None, keepdims=False):
    ...     return x, axis, keepdims
    >>> total(input=1, dim=0, keepdim=True)
    (1, 0, True)
    >>> total(1, dms=0)     # doctest: +ELLIPSIS
    Traceback (most recent call last):
    microgradx.errors.ArgumentError: total: no argument is called 'dms'; did you mean dims or dim? It takes x, axis, ...
    """
    return public(function)


def public(function: Callable[P, R], *, parameters: Parameters | None = None,
           direct: Callable[..., Any] | None = None, kind: type | None = None, least: int = 1,
           most: int = 255) -> Callable[P, R]:
    """``function`` as part of the interface: by other names of its arguments, and named in the errors that Python and
    NumPy raise in it: by its own name, or that of the class whose object it makes or is called by.

    ``parameters``: what it may be given, if that is not its signature. ``direct`` takes calls of ``least`` to
    ``most`` arguments by position the first of which is a ``kind``, or anything if that is None.
    """
    if isinstance(function, Public):
        return function
    takes = inspect.signature(function).parameters if parameters is None else parameters
    known = frozenset(name for name, p in takes.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    any_name = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    op = None if function.__name__ in ("__init__", "forward", "__call__") else function.__name__

    def rename(args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return translated(op or function.__qualname__.partition(".")[0], takes, args, keywords)

    def name(error: Exception, first: Any) -> Exception:
        return named(op or type(first).__name__, error, 0)

    made: Any = functools.update_wrapper(
        Public(function, None if any_name else known, rename, name, direct, kind, least, most), function)
    return made                                                                 # type: ignore[no-any-return]


BOUND = ("self", "cls")                                     # arguments that a call does not name
CALLED = ("__init__", "__contains__", "__getitem__", "__setitem__", "__delitem__")    # public, whatever their names
def make_public(module: str, *but: str) -> None:
    """Let the functions and the methods of a module that users call be ``public``, but for those that are called at
    every step of a training, which are named ``but``, and for ``forward``, which a call of the module names."""
    space, but = vars(sys.modules[module]), ("forward", *but)
    called = {*space.get("__all__", space), *space.get("FUNCTIONS", ())}
    for name, thing in list(space.items()):
        if getattr(thing, "__module__", None) != module or name in but:
            continue
        if isinstance(thing, type) and not issubclass(thing, Exception):
            for key, method in list(vars(thing).items()):
                kind = type(method) if isinstance(method, (classmethod, staticmethod)) else None
                function = method.__func__ if kind else method
                if (key in CALLED or not key.startswith("_")) and key not in but and _is_written_in(module, function):
                    setattr(thing, key, kind(public(function)) if kind else public(function))
        elif not name.startswith("_") and name in called and _is_written_in(module, thing):
            space[name] = public(thing)


def _is_written_in(module: str, function: Any) -> bool:
    """Whether that is a function of the module that no door calls, and whose errors come when it is called."""
    return (isinstance(function, FunctionType) and function.__module__ == module
            and not hasattr(function, "__wrapped__") and not inspect.isgeneratorfunction(function))


def translated(label: str, parameters: Parameters, args: tuple[Any, ...],
               kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call of ``label`` by their names here."""
    names = [name for name in parameters if name not in BOUND]
    found: dict[str, Any] = {}
    for theirs, value in kwargs.items():
        if theirs in names:
            ours = theirs
        elif theirs == "device":
            if value is not None and not is_device(label, value):
                raise ArgumentError(f"{label}: device={value!r} is none; microgradx runs on the CPU, 'cpu'")
            continue
        else:
            meant = leads_to(theirs, names)
            if meant is None:
                raise ArgumentError(f"{label}: no argument is called {theirs!r}{advice(theirs, names)} It takes "
                                    f"{', '.join(names) or 'none'}")
            ours = meant
        if ours in found or ours in kwargs and ours != theirs:
            raise ArgumentError(f"{label}: {ours} is given twice, by two names of one argument, one of them {theirs}")
        found[ours] = CONVERSIONS.get(theirs, lambda v: v)(value) if ours != theirs else value
    first = names[0] if names else None
    if first in found and parameters[first].kind is inspect.Parameter.POSITIONAL_ONLY:
        at = len(parameters.keys() & set(BOUND))
        args = (*args[:at], found.pop(first), *args[at:])
    rest = next((name for name in names if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL), None)
    return (*args, found.pop(rest)) if rest in found else args, found


def leads_to(theirs: str, names: list[str]) -> str | None:
    """Which of the arguments ``names`` is meant by ``theirs``, or None."""
    if theirs == "input" and names:
        return names[0]
    return next((name for name in KEYWORDS.get(theirs, ()) if name in names), None)


def advice(theirs: str, names: list[str]) -> str:
    """A question that names what ``theirs`` might be a slip of."""
    possible = dict.fromkeys([*names, *(k for k in KEYWORDS if leads_to(k, names))])
    near = difflib.get_close_matches(theirs, possible, 2, 0.6)
    return f"; did you mean {' or '.join(near)}?" if near else "."


def missing(name: str, there: Mapping[str, Any], module: str = "microgradx") -> str:
    """What to say of a name that ``module`` does not have: why, or which of those ``there`` it might be."""
    if name in ABSENT:
        return f"{module}.{name}: {ABSENT[name]}"
    near = difflib.get_close_matches(name, [n for n in there if not n.startswith("_")], 2, 0.7)
    return f"module {module!r} has no attribute {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
