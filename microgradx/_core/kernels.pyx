"""The table of operations and the kernels chosen for this processor."""
import os
import re

from microgradx.errors import OptionError

cdef Facts _facts[MGX_NROWS]
cdef KernelFacts _kernel_facts[MGX_NKERNELS]
cdef dict _opcodes = {}
cdef dict _kernel_rows = {}

rows = mgx_table
facts = _facts
prepare = mgx_prepare
kernel_rows = mgx_kernel_table
kernel_facts = _kernel_facts
run_tiles = mgx_run_tiles
run_loop = mgx_run_loop
run_kernel = mgx_run_kernel
run_short_kernel = mgx_run_short_kernel
set_blas = mgx_set_blas
set_poll = mgx_set_poll
signalled = mgx_signalled
kernels = mgx_dispatch()
if kernels == NULL:
    raise OptionError(f"MICROGRADX_ISA={os.environ.get('MICROGRADX_ISA')!r} names no instruction set that this "
                      "processor has (baseline, avx2, avx512)")


def _read():
    """Fill the facts from the texts of the rows."""
    cdef int op, i
    for op in range(MGX_NROWS):
        kind = rows[op].kind.decode()
        _opcodes[rows[op].name.decode()] = op
        _facts[op].arity = rows[op].arity
        _facts[op].stores = kind in "DH"
        _facts[op].compares = kind == "C"
        for i in range(rows[op].arity):
            text = rows[op].derivative[i].decode()
            words = set(re.findall(r"\b[abcxy]\b", text))
            _facts[op].identity[i] = text == "K(1)"
            _facts[op].names[i] = sum(bit for bit, names in ((1, "ax"), (2, "b"), (4, "c"), (8, "y"))
                                      if words & set(names))

_read()


def _listed(text):
    """[(type, name, elements)] of a list in kernels.def, which stands in brackets."""
    found = []
    for item in re.split(r",\s*(?=[A-Z0-9]+\()", text.strip().removeprefix("(").removesuffix(")")):
        if item:
            kind, inside = item.split("(", 1)
            name, _, elements = inside.removesuffix(")").partition(",")
            found.append((kind, name.strip(), elements.strip()))
    return found


def _read_kernels():
    """Fill the facts from the lists of the rows of structured kernels."""
    cdef int row, k
    cdef KernelFacts *facts
    for row in range(MGX_NKERNELS):
        facts = &_kernel_facts[row]
        reads, updates, writes = (_listed(text.decode()) for text in (
            kernel_rows[row].reads, kernel_rows[row].updates, kernel_rows[row].writes))
        _kernel_rows[kernel_rows[row].name.decode()] = row
        facts.first_update, facts.first_write = len(reads), len(reads) + len(updates)
        facts.count = len(reads) + len(updates) + len(writes)
        facts.integers = sum(_PLACES[kind] for kind, *_ in _listed(kernel_rows[row].integers.decode()))
        facts.numbers = len(_listed(kernel_rows[row].numbers.decode()))
        facts.optional = facts.of_launch = facts.draws = 0
        for k, (kind, name, _) in enumerate(reads + updates + writes):
            facts.optional |= (kind in ("OPTIONAL", "MAYBE64")) << k
            facts.draws |= name == "state"
            facts.of_launch |= (kind in ("REALS", "OPTIONAL", "STRIDED")) << k
    for name, row in _kernel_rows.items():
        _kernel_facts[row].counter = _kernel_rows.get(f"count_{name}", _kernel_rows["count_steps"])


_PLACES = {"INTEGER": 1, "FLAG": 1, "STRIDES": 3, "WINDOWS": 12}
_read_kernels()


cpdef int kernel_row(str name) except -1:
    """The number of the row of ``csrc/kernels.def`` called ``name``."""
    try:
        return _kernel_rows[name]
    except KeyError:
        raise OptionError(f"no kernel is called {name!r}; there are {', '.join(_kernel_rows)}") from None


def kernel_integers(int row):
    """[(type, name, how many places it takes)] of the integers of a row."""
    return [(kind, name, _PLACES[kind]) for kind, name, _ in _listed(kernel_rows[row].integers.decode())]


def kernel_table():
    """The rows of the table of structured kernels, in order.

    Each is a dict: ``name``; ``operation``, the name that users know; ``doc``; ``reads``, ``updates``, ``writes``,
    ``integers`` and ``numbers``, lists of (type, name, elements); ``keeps_finite``, whether it makes no nan of finite
    numbers; ``steady``, whether nothing interrupts it; ``split``, the axis that is cut into pieces and the work of one
    index, or None.

    >>> from microgradx._core import kernels
    >>> next(row["writes"] for row in kernels.kernel_table() if row["name"] == "softmax")
    [('REALS', 'y', 'm*n')]
    """
    result = []
    for row in range(MGX_NKERNELS):
        r = &kernel_rows[row]
        split, _, work = r.split.decode().removesuffix(")").partition("(")
        result.append(dict(
            name=r.name.decode(), operation=r.operation.decode(), doc=r.doc.decode(), reads=_listed(r.reads.decode()),
            updates=_listed(r.updates.decode()), writes=_listed(r.writes.decode()),
            integers=[(kind, name) for kind, name, _ in _listed(r.integers.decode())],
            numbers=[name for _, name, _ in _listed(r.numbers.decode())],
            keeps_finite=bool(r.keeps_finite), steady=bool(r.steady),
            split=None if split == "WHOLE" else tuple(part.strip() for part in work.rsplit(",", 1))))
    return result


cpdef int opcode(str name) except -1:
    """The number of the row called ``name``."""
    try:
        return _opcodes[name]
    except KeyError:
        raise OptionError(f"no operation is called {name!r}") from None


def table():
    """The rows of the table of operations, in order.

    Each is a dict: ``name``; ``kind`` (the letter of its macro in ``csrc/ops.def``); ``arity``; ``forward`` and
    ``derivative``, the texts; ``lo, hi``, the range that tests and benchmarks draw from; ``ulp, dulp``, the
    largest error of the value and of the derivative; ``libm``, whether the C library is called per element; ``doc``,
    what the docstring of the method says.

    >>> from microgradx._core import kernels
    >>> next(row["derivative"] for row in kernels.table() if row["name"] == "tanh")
    ['sech2(x)']
    """
    result = []
    for op in range(MGX_NROWS):
        forward = rows[op].forward.decode()
        result.append(dict(
            name=rows[op].name.decode(), kind=rows[op].kind.decode(), arity=rows[op].arity, forward=forward,
            derivative=[rows[op].derivative[i].decode() for i in range(rows[op].arity)],
            lo=rows[op].lo, hi=rows[op].hi, ulp=rows[op].ulp, dulp=rows[op].dulp,
            libm="LIBM" in forward or forward.startswith("remainder"), doc=rows[op].doc.decode()))
    return result


def isa():
    """The instruction set whose kernels run: ``"baseline"``, ``"avx2"`` or ``"avx512"``."""
    return kernels.isa.decode()


def threads(int count=0):
    """How many threads the kernels use; a ``count`` above 0 is what they use from now on, and what was is returned."""
    return mgx_threads(count)
