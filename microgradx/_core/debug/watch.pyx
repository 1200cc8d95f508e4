"""``detect_nan``: switching it on, and the message that names who made a nan.

What is written is examined at the door (``launch``), what a derivative gives in the walk (``backward``); nodes note
where they were written (``graph.call_site``).
"""
from linecache import getline

from microgradx._core.array cimport Array, Node, Storage, dtype_of, itemsize, readable_ndarray, shape_of
from microgradx._core.graph cimport call_site, open_detection, recording_sites, watching
from microgradx._core.kernels cimport *

import numpy as np

from microgradx._core.graph import Entered, within
from microgradx.errors import NonFiniteError


cdef object is_reported(object numbers):
    """Where there is a nan, or, if that was asked for, an inf. Of what was broadcast one element is enough."""
    if isinstance(numbers, np.ndarray):
        numbers = numbers[tuple([slice(1) if step == 0 else slice(None) for step in numbers.strides])]
    return ~np.isfinite(numbers) if recording_sites == 2 else np.isnan(numbers)


cdef str count_non_finite(object numbers):
    """How many nan and inf."""
    found = [f"{n} {kind}" for n, kind in ((np.isnan(numbers).sum(), "nan"), (np.isinf(numbers).sum(), "inf")) if n]
    return " and ".join(found) or "no nan or inf"


cdef str describe_operand(object operand):
    if not isinstance(operand, (Array, np.ndarray)):
        return f"the number {operand!r}" if isinstance(operand, float) else repr(operand)
    numbers = readable_ndarray(<Array> operand) if isinstance(operand, Array) else operand
    finite = numbers[np.isfinite(numbers)]
    text = f"shape {numbers.shape}, {numbers.dtype}"
    if finite.size:
        text += f", from {finite.min():.6g} to {finite.max():.6g}"
    return f"{text}, {count_non_finite(numbers)}"


cdef str format_site(object site):
    """'file:line, in function: text of the line'"""
    code, offset = site
    line = next((line for start, stop, line in code.co_lines() if start <= offset < stop), code.co_firstlineno)
    return f"{code.co_filename}:{line}, in {code.co_qualname}: {getline(code.co_filename, line).strip()}"


cdef int raise_non_finite(str op, Array out, tuple operands, Node node) except -1:
    """Raise: ``op`` made ``out`` from finite ``operands``. ``node`` is that of a derivative's operation."""
    numbers = readable_ndarray(out)
    lines = [f"{op}: made {count_non_finite(numbers)} among the {numbers.size} numbers of shape {shape_of(out)}, "
             f"{dtype_of(out.dtype_)}"]
    if node is None:
        lines.append(f"at {format_site(call_site())}")
    elif node.site is None:
        lines.append("the operation ran before detect_nan was on, so where is not known")
    else:
        lines.append(f"the operation is at {format_site(node.site)}")
    for k, operand in enumerate([o for o in operands if o is not None]):
        name = f"operand {k}" if node is None else f"saved {k - 1}" if k else "incoming gradient"
        lines.append(f"{name}: {describe_operand(operand)}")
    raise NonFiniteError("\n  ".join(lines))


cdef bint is_finite(Array a) noexcept:
    """Is nothing in a float array inf or nan? What only it holds is read once for each version, and what was broadcast
    once; False for other layouts."""
    cdef Storage *s
    cdef Py_ssize_t n = 1
    cdef int d
    if a is None or a.size == 0:
        return True
    s = a.storage
    if s.finite_version == s.version + 1:
        return True
    if a.contiguous:
        n = a.size
    else:
        for d in range(a.ndim - 1, -1, -1):
            if a.strides_[d] and a.shape_[d] > 1:
                if a.strides_[d] != n * itemsize[a.dtype_]:
                    return False
                n *= a.shape_[d]
    if not kernels.all_finite[a.dtype_](n, a.data):
        return False
    if a.contiguous and s.refs == 1 and s.size_class != -1:      # whoever sees these bytes later sees them through `a`
        s.finite_version = s.version + 1
    return True


cdef bint is_clean(Array a) except -1:
    """Is there nothing in ``a`` that detect_nan looks for? No Python code runs meanwhile."""
    cdef Py_ssize_t index[MGX_MAXDIM]
    cdef char *p
    cdef int d
    cdef double x
    if a is None or a.dtype_ > MGX_F64 or is_finite(a):
        return True
    if watching() == 2 and a.contiguous:
        return False
    for d in range(a.ndim):
        index[d] = 0
    p = a.data
    while True:                                                 # element by element
        x = (<float *> p)[0] if a.dtype_ == MGX_F32 else (<double *> p)[0]
        if x != x or watching() == 2 and x - x != 0:
            return False
        d = a.ndim - 1
        while d >= 0:
            index[d] += 1
            p += a.strides_[d]
            if index[d] < a.shape_[d] and a.strides_[d]:             # of what was broadcast one is enough
                break
            p -= index[d] * a.strides_[d]
            index[d] = 0
            d -= 1
        if d < 0:
            return True


cdef int check_clean(Array out, str op, Array a=None, Array b=None, bint non_finite_before=False) except -1:
    """``out`` was written, from ``a`` and ``b``; ``non_finite_before``: it was not finite before, and is among the
    operands."""
    if watching() and not (non_finite_before or is_clean(out)) and is_clean(a) and is_clean(b):
        raise_non_finite(op, out, (a, b), None)
    return 0


class detect_nan:
    """Within it, or in a function that it decorates, the first operation of Tensors that makes a nan raises.

    ``inf=True`` looks for inf, too. ``NonFiniteError`` names the operation, its shape, the ranges of its operands and
    the line that it was written in; for a derivative, the line of its operation. An operation is not blamed if an
    operand was nan already: that came from outside. A nan that is masked later is found as well: ``where(x > 0,
    sqrt(x), 0)`` makes one. It holds in all threads, until the last that entered one has left it, and not for Values.

    What is written by then stays so: a step that raised has perhaps updated some parameters and not others.

    >>> import microgradx as mgx
    >>> with mgx.detect_nan():
    ...     y = mgx.log(mgx.Tensor([1.0, -1.0]))        # doctest: +ELLIPSIS
    Traceback (most recent call last):
    microgradx.errors.NonFiniteError: log: made 1 nan among the 2 numbers of shape (2,), float32
      at ..., in <module>: ...
      operand 0: shape (2,), float32, from -1 to 1, no nan or inf
    """

    def __init__(self, inf=False):
        self._mode, self._entered = 2 if inf else 1, Entered()

    def __enter__(self):
        self._entered.push(None)
        open_detection(self._mode, 1)
        return self

    def __exit__(self, kind, error, trace):
        self._entered.pop()
        open_detection(self._mode, -1)

    def __call__(self, function):
        return within("detect_nan", lambda: self, function)
