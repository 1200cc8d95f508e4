"""The errors that microgradx raises on its own account. Each is also the built-in error a user would expect.

    Error
    ├── ShapeError(ValueError)      shapes, axes and sizes that do not fit
    ├── DTypeError(TypeError)       dtypes that do not mix, data that is not numbers
    ├── IndexError_(IndexError)     an index or label out of range
    ├── KeyError_(KeyError)         a name that a container does not have
    ├── OptionError(ValueError)     an argument that is none of those allowed
    ├── ArgumentError(TypeError)    a keyword that no argument has, or two names of one
    ├── FormatError(ValueError)     a file that is not what its name or its header says
    ├── GraphError(RuntimeError)    a graph that is freed, missing, or would be broken
    ├── CaptureError(RuntimeError)  a function that cannot be captured as a program
    ├── GradcheckError(RuntimeError)    a gradient is not what finite differences say
    ├── NonFiniteError(FloatingPointError)  inf or nan where only a number will do
    └── NotImplementedError_(NotImplementedError)   an operation that has no meaning for this object

and two warnings: ``CompileWarning(RuntimeWarning)``, a compiled function that gains nothing from it, and
``DifferenceWarning(UserWarning)``, torch's spelling of what means something else here.

A message names the operation first, then the values, then the relation that failed:
``matmul: shapes (2, 3) and (4, 5) do not align (3 != 4)``.
"""

import contextlib
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator

__all__ = ["ArgumentError", "CaptureError", "CompileWarning", "DTypeError", "DifferenceWarning", "Error", "FormatError",
           "GradcheckError", "GraphError", "IndexError_", "KeyError_", "NonFiniteError", "NotImplementedError_",
           "OptionError", "ShapeError"]


def described(value: object) -> str:
    """The type of a value, as messages name it; of another library's tensor with what makes a Tensor of it."""
    kind = type(value)
    if kind.__module__ in ("builtins", "numpy") or kind.__module__.startswith("microgradx") or not hasattr(
            kind, "__dlpack__"):
        return kind.__name__
    library = kind.__module__.partition(".")[0]
    source = "x.detach()" if getattr(value, "requires_grad", False) else "x"
    return f"{library}.{kind.__name__} (mgx.from_dlpack({source}) makes a Tensor over the same memory)"


def is_device(op: str, where: object) -> bool:
    """Is that the name of a device, which must be the CPU, and no dtype?"""
    name = str(where).partition(":")[0]
    if name in ("cuda", "mps", "xpu", "gpu", "tpu", "hip", "meta"):
        raise OptionError(f"{op}: {where} is not there; microgradx runs on the CPU")
    return name == "cpu"


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that stands twice, or None."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)      # type: ignore[func-returns-value]


class Error(Exception):
    """Any error of microgradx."""


class ShapeError(Error, ValueError, RuntimeError):
    """Shapes, axes or sizes do not fit."""


class DTypeError(Error, TypeError, RuntimeError):
    """Dtypes do not mix, or data are not numbers."""


class IndexError_(Error, IndexError):
    """An index or a label is out of range."""


class KeyError_(Error, KeyError):
    """A container has nothing of that name."""

    __str__ = Exception.__str__             # the sentence, not its repr


class OptionError(Error, ValueError, RuntimeError):
    """An argument is none of those allowed."""


class ArgumentError(Error, TypeError):
    """A keyword that no argument has, or two names of one argument."""


class FormatError(Error, ValueError):
    """A file is damaged, cut short, or of another kind."""


class GraphError(Error, RuntimeError):
    """A graph is freed, missing, or would be broken by a write."""


class CaptureError(Error, RuntimeError):
    """A function does what a captured program could not repeat."""


class CompileWarning(RuntimeWarning):
    """A compiled function that does not get faster: its calls run as they are, or are captured again and again."""


class DifferenceWarning(UserWarning):
    """A call in torch's spelling of what is on purpose not what torch does: see docs/differences.md."""


class GradcheckError(Error, RuntimeError):
    """A gradient disagrees with finite differences."""


class NonFiniteError(Error, FloatingPointError):
    """A result is inf or nan where only a number will do, or while ``detect_nan`` looked for it."""


class NotImplementedError_(Error, NotImplementedError):
    """An operation that this kind of object does not have: draws with gradients of a discrete distribution, say."""
# ----- what Python and NumPy say of wrong arguments ----------------------------------------------------------------

# what they raise, and what that is called here
RAW = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
CLASSES = {AttributeError: DTypeError, TypeError: DTypeError, KeyError: KeyError_, LookupError: IndexError_,
           ValueError: OptionError, ArithmeticError: OptionError}
OWN = {"microgradx", "numpy", "scipy", *sys.stdlib_module_names}


def named(op: str, error: Exception, frames: int = 1) -> Exception:
    """The error of microgradx in place of one that Python or NumPy raised within ``op``, which was caught ``frames``
    functions further up: in its own ``except`` clause, if 1.

    Errors of microgradx stay as they are; so does what the caller's own functions raise, and what Python says of the
    number and the names of arguments.
    """
    trace = error.__traceback__
    for _ in range(frames):
        trace = trace and trace.tb_next
    if isinstance(error, Error) or trace is None:
        return error
    while trace:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in OWN:
            return error
        trace = trace.tb_next
    text = " ".join(str(error).split())
    if isinstance(error, AttributeError) and getattr(error, "obj", None) is not None:
        text = f"an argument is {described(error.obj)}, which has no {error.name}"
    if isinstance(error, KeyError):
        text = f"there is no key {text}"
    kind = next(ours for theirs, ours in CLASSES.items() if isinstance(error, theirs))
    return kind(f"{op}: {text}").with_traceback(error.__traceback__)


def is_of_a_signal(error: BaseException) -> bool:
    """Whether the handler of a signal raised the error: then it is no answer of the code that ran at the time."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))


@contextlib.contextmanager
def ignored(*kinds: type[Exception]) -> Iterator[None]:
    """``contextlib.suppress`` of errors of the code within, not of what the handler of a signal raises meanwhile."""
    try:
        yield
    except kinds as error:
        if is_of_a_signal(error):
            raise
