"""The table of operations and the kernels chosen for this processor."""
import os
import re

from microgradx.errors import OptionError

cdef Facts _facts[MGX_NROWS]
cdef dict _opcodes = {}

rows = mgx_table
facts = _facts
prepare = mgx_prepare
execute = mgx_execute
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
    largest error of the value and of the derivative; ``libm``, whether the C library is called per element.

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
            libm="LIBM" in forward or forward.startswith("remainder")))
    return result


def isa():
    """The instruction set whose kernels run: ``"baseline"``, ``"avx2"`` or ``"avx512"``."""
    return kernels.isa.decode()
