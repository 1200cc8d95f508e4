"""Sequences of different lengths: as one padded tensor, or packed, step by step without padding."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradx._core.tensor import Tensor, concat, stack
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.padding import pad
from microgradx.typing import Data

__all__ = ["PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence",
           "unpack_sequence", "unpad_sequence"]


class PackedSequence(NamedTuple):
    """Sequences step by step: the first elements of all, then the second ones, and so on; longest sequences first.

    ``data`` has all elements, ``batch_sizes`` how many of them each step has. ``sorted_indices`` says which sequence
    came first, second, ... in this order, ``unsorted_indices`` is its inverse; both are None where the sequences were
    in order. Recurrent layers take it and give one. Made by ``pack_padded_sequence``.
    """
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def _lengths(op: str, lengths: Data, m: int, most: int | None) -> npt.NDArray[np.int64]:
    numbers = np.asarray(lengths.numpy() if isinstance(lengths, Tensor) else lengths)
    if numbers.shape != (m,) or numbers.dtype.kind not in "iu":
        raise ShapeError(f"{op}: lengths are {m} integers, one per sequence, not {numbers.dtype} of shape "
                         f"{numbers.shape}")
    if m and (numbers.min() < 1 or most is not None and numbers.max() > most):
        raise OptionError(f"{op}: lengths are from 1 to {most}, not {numbers.tolist()}")
    return numbers.astype("int64")


def pad_sequence(sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:
    """Tensors (T_k, ...) as one of shape (T, m, ...), or (m, T, ...) with ``batch_first``: T is the largest T_k.

    Shorter ones end in ``padding_value``, or begin with it for ``padding_side`` "left".

    >>> import microgradx as mgx
    >>> from microgradx.nn.utils.rnn import pad_sequence
    >>> pad_sequence([mgx.Tensor([1.0, 2.0]), mgx.Tensor([3.0])], batch_first=True)
    Tensor([[1., 2.],
            [3., 0.]])
    """
    parts = list(sequences)
    if padding_side not in ("right", "left"):
        raise OptionError(f"pad_sequence: padding_side is 'right' or 'left', not {padding_side!r}")
    if not parts or any(not isinstance(x, Tensor) or x.ndim < 1 or x.shape[1:] != parts[0].shape[1:] for x in parts):
        raise ShapeError("pad_sequence: one or more tensors (T, ...) that differ in T alone, not "
                         f"{[x.shape if isinstance(x, Tensor) else type(x).__name__ for x in parts]}")
    longest = max(len(x) for x in parts)
    behind = [0, 0] * (parts[0].ndim - 1)
    widths = [(0, longest - len(x)) if padding_side == "right" else (longest - len(x), 0) for x in parts]
    return stack([pad(x, [*behind, *width], value=padding_value) for x, width in zip(parts, widths)],
                 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Data, batch_first: bool = False) -> list[Tensor]:
    """The sequences (T_k, ...) that ``pad_sequence`` made one tensor of, by their ``lengths``."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[k, :int(n)] for k, n in enumerate(_lengths("unpad_sequence", lengths, len(x), x.shape[1]))]


def pack_padded_sequence(input: Tensor, lengths: Data, batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """A padded tensor (T, m, ...), or (m, T, ...) with ``batch_first``, of which sequence k has ``lengths[k]``
    elements.

    With ``enforce_sorted`` lengths must not rise. Raises ``OptionError`` if they do, or are not from 1 to T.

    >>> import microgradx as mgx
    >>> from microgradx.nn.utils.rnn import pack_padded_sequence
    >>> x = mgx.Tensor([[[1.0], [2.0]], [[3.0], [0.0]]])
    >>> packed = pack_padded_sequence(x, [2, 1], batch_first=True)
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([[1.0], [3.0], [2.0]], [2, 1])
    """
    if not isinstance(input, Tensor) or input.ndim < 2:
        raise ShapeError("pack_padded_sequence: a Tensor (T, m, ...), not "
                         f"{input.shape if isinstance(input, Tensor) else type(input).__name__}")
    x = input.transpose(0, 1) if batch_first else input
    counts = _lengths("pack_padded_sequence", lengths, x.shape[1], x.shape[0])
    order = None
    if (np.diff(counts) > 0).any():
        if enforce_sorted:
            raise OptionError(f"pack_padded_sequence: lengths must not rise, and are {counts.tolist()}; "
                              "enforce_sorted=False sorts the sequences")
    if not enforce_sorted:
        order = np.argsort(-counts, kind="stable")
        counts, x = counts[order], x[:, order]
    sizes = (counts[:, None] > np.arange(counts.max())).sum(0)
    data = concat([x[t, :int(n)] for t, n in enumerate(sizes)])
    if order is None:
        return PackedSequence(data, Tensor(sizes))
    return PackedSequence(data, Tensor(sizes), Tensor(order), Tensor(np.argsort(order)))


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """(the padded tensor that ``sequence`` was made of, the lengths): the reverse of ``pack_padded_sequence``.

    ``total_length``: a number of steps, which is larger than that of the longest sequence, perhaps.
    """
    if not isinstance(sequence, PackedSequence):
        raise DTypeError(f"pad_packed_sequence: a PackedSequence, not {type(sequence).__name__}")
    sizes = sequence.batch_sizes.tolist()
    if total_length is not None and total_length < len(sizes):
        raise OptionError(f"pad_packed_sequence: total_length={total_length} is less than the {len(sizes)} steps")
    behind = [0, 0] * (sequence.data.ndim - 1)
    steps = [pad(x, [*behind, 0, sizes[0] - len(x)], value=padding_value) for x in sequence.data.split(sizes)]
    x = stack(steps)
    if total_length is not None and total_length > len(sizes):
        x = pad(x, [*behind, 0, 0, 0, total_length - len(sizes)], value=padding_value)
    lengths = Tensor((np.array(sizes)[:, None] > np.arange(sizes[0])).sum(0))
    if sequence.unsorted_indices is not None:
        x, lengths = x[:, sequence.unsorted_indices], lengths[sequence.unsorted_indices]
    return x.transpose(0, 1) if batch_first else x, lengths


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (T_k, ...) as a ``PackedSequence``."""
    return pack_padded_sequence(pad_sequence(sequences), [len(x) for x in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The tensors (T_k, ...) that ``packed_sequences`` was made of."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    found: list[Any] = unpad_sequence(padded, lengths, batch_first=True)
    return found


make_public(__name__)
