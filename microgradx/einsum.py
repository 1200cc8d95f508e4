"""Einstein summation: operands are joined two at a time, each pair by one batched matrix product."""
from __future__ import annotations

import math
from string import ascii_letters

import numpy as np

from microgradx._core.tensor import Tensor, tensor
from microgradx.errors import OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Data

__all__ = ["einsum"]

DOTS = "".join(chr(0x100 + k) for k in range(64))       # the axes that ... stands for: no letters of an equation


def einsum(equation: str, *operands: Data) -> Tensor:
    """Sums of products by subscripts, as ``np.einsum``: ``"ij,jk->ik"`` is the matrix product.

    A subscript repeated within one operand takes its diagonal; one that the output lacks is summed over; without
    ``->`` the output has, in alphabetical order, those that stand once. ``...`` stands for leading axes that
    broadcast. Operands are joined from left to right. Raises ``OptionError`` for an equation that does not parse,
    ``ShapeError`` where axes of one subscript differ.

    >>> import microgradx as mgx
    >>> mgx.einsum("ij,j->i", mgx.Tensor([[1.0, 2.0], [3.0, 4.0]]), mgx.Tensor([1.0, -1.0]))
    Tensor([-1., -1.])
    """
    tensors = [x if isinstance(x, Tensor) else tensor(x) for x in operands]
    inputs, output = parse(equation, [x.ndim for x in tensors])
    sizes: dict[str, int] = {}
    for subscripts, x in zip(inputs, tensors, strict=True):
        for letter, n in zip(subscripts, x.shape, strict=True):
            if n != 1 and sizes.setdefault(letter, n) not in (1, n):
                raise ShapeError(f"einsum: {equation!r}: subscript {letter!r} is {sizes[letter]} and {n} long")
            sizes[letter] = max(n, sizes.get(letter, n)) if n else n
    terms = [diagonals(subscripts, x) for subscripts, x in zip(inputs, tensors, strict=True)]
    while len(terms) > 1:
        later = set(output).union(*(s for s, _ in terms[2:]))
        terms[:2] = [join(terms[0], terms[1], later)]
    subscripts, x = keep_only(*terms[0], set(output))
    return x.permute(*(subscripts.index(letter) for letter in output)) if output else x


def parse(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    """The subscripts of each operand and of the output, with ``...`` spelled out."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ndims):
        raise OptionError(f"einsum: {equation!r} names {len(inputs)} operands, {len(ndims)} are given")
    longest = 0
    for term in (*inputs, output):
        bad = [c for c in term.replace("...", "", 1) if c not in ascii_letters]
        if bad:
            raise OptionError(f"einsum: {equation!r} does not parse at {bad[0]!r}")
    for k, (term, ndim) in enumerate(zip(inputs, ndims, strict=True)):
        count = ndim - len(term.replace("...", ""))
        if count < 0 or (count and "..." not in term):
            raise ShapeError(f"einsum: {term!r} does not name the {ndim} axes of operand {k}")
        longest = max(longest, count)
        inputs[k] = term.replace("...", DOTS[len(DOTS) - count:])
    dots = DOTS[len(DOTS) - longest:]
    letters = "".join(inputs)
    if arrow:
        output = output.replace("...", dots)
    else:
        output = dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots))
    bad = [c for c in output if c not in letters]
    if bad or len(set(output)) != len(output):
        raise OptionError(f"einsum: {equation!r} does not parse" + (f" at {bad[0]!r}" if bad else ""))
    return inputs, output


def diagonals(subscripts: str, x: Tensor) -> tuple[str, Tensor]:
    """Each subscript once: repeated ones become a diagonal."""
    for letter in dict.fromkeys(subscripts):
        while subscripts.count(letter) > 1:
            i = subscripts.index(letter)
            k = subscripts.index(letter, i + 1)
            rest = [d for d in range(x.ndim) if d not in (i, k)]
            along = np.arange(min(x.shape[i], x.shape[k]))
            x = x.permute(*rest, i, k)[(..., along, along)]
            subscripts = "".join(subscripts[d] for d in rest) + letter
    return subscripts, x


def keep_only(subscripts: str, x: Tensor, wanted: set[str]) -> tuple[str, Tensor]:
    """Sum over what is not wanted."""
    axes = tuple(d for d, letter in enumerate(subscripts) if letter not in wanted)
    return "".join(c for c in subscripts if c in wanted), x.sum(axis=axes) if axes else x


def join(first: tuple[str, Tensor], second: tuple[str, Tensor], later: set[str]) -> tuple[str, Tensor]:
    """The product of two terms, summed over what stands in both and is not needed later: (b, i, k) @ (b, k, j)."""
    p, x = keep_only(*first, later | set(second[0]))
    q, y = keep_only(*second, later | set(p))
    batch = [c for c in p if c in q and c in later]
    summed = [c for c in p if c in q and c not in later]
    rows, columns = [c for c in p if c not in q], [c for c in q if c not in p]
    x = x.permute(*(p.index(c) for c in batch + rows + summed)) if p else x
    y = y.permute(*(q.index(c) for c in batch + summed + columns)) if q else y
    b, r, s = len(batch), len(rows), len(summed)
    lengths = tuple(max(m, n) if m and n else 0 for m, n in zip(x.shape[:b], y.shape[:b], strict=True))
    common = tuple(max(m, n) if m and n else 0 for m, n in zip(x.shape[b + r:], y.shape[b:b + s], strict=True))
    wide = x.shape[b:b + r], y.shape[b + s:]
    x = x.expand(*lengths, *wide[0], *common).reshape(math.prod(lengths), math.prod(wide[0]), math.prod(common))
    y = y.expand(*lengths, *common, *wide[1]).reshape(math.prod(lengths), math.prod(common), math.prod(wide[1]))
    return "".join(batch + rows + columns), (x @ y).reshape(*lengths, *wide[0], *wide[1])


make_public(__name__)
