"""Files of arrays as they are published: idx (MNIST) and npz. A damaged file raises ``FormatError``.

Packed files are unpacked up to a limit, so that a small file does not fill the memory.
"""
from __future__ import annotations

import math
import os
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx.errors import FormatError, first_repeated, is_of_a_signal
from microgradx.io import open_file
from microgradx.names import make_public

__all__ = ["idx", "npz"]

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PIECE = 1 << 20                             # a header may promise more than there is
LEAST, RATIO = 64 << 20, 100                # bytes that any packed file may hold, and how many times its size


def _limit(file: Any, limit: int | None) -> int:
    """How many bytes a packed file may hold."""
    return max(LEAST, RATIO * os.fstat(file.fileno()).st_size) if limit is None else limit


def idx(path: str | os.PathLike[str], limit: int | None = None) -> npt.NDArray[Any]:
    """The array in an idx file, as MNIST and its kin are published, gzipped or not; in its own dtype.

    The format: two zero bytes, the type, the number of axes, their lengths as big-endian 32-bit integers, the numbers
    (LeCun, Cortes and Burges, the MNIST database). ``limit``: the most bytes that a gzipped file may hold; None is 100
    times its size, or 64 MiB if that is more.

    Raises ``FormatError`` for a wrong beginning, an unknown type, too few or too many bytes, damaged gzip, more bytes
    than the limit, and for what is no file, such as a device.

    >>> import os, tempfile
    >>> from microgradx import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte")
    ...     with open(path, "wb") as file:
    ...         size = file.write(b"\\0\\0\\x08\\1" + b"\\0\\0\\0\\3" + b"\\7\\2\\1")
    ...     data.idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    import gzip  # imported late, as zipfile below: few programs read such files
    import zlib
    where = f"idx: {os.fspath(path)!r}"
    try:
        with open_file(os.fsdecode(path), "idx") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain) if zipped else plain as file:
                return _idx(file, where, _limit(plain, limit) if zipped else None)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{where}: damaged gzip: {error}") from None


def _idx(file: Any, where: str, limit: int | None) -> npt.NDArray[Any]:
    magic = _bytes(file, 4, f"{where}: the beginning")
    zeros, kind, ndim = magic[:2], magic[2], magic[3]
    if zeros != b"\0\0" or kind not in IDX_TYPES:
        raise FormatError(f"{where}: begins with {magic.hex(' ')}; an idx file with 00 00, a type "
                          f"({', '.join(f'{k:02x}' for k in IDX_TYPES)}) and the number of axes")
    shape = np.frombuffer(_bytes(file, 4 * ndim, f"{where}: the lengths of {ndim} axes"), ">u4").tolist()
    dtype = np.dtype(IDX_TYPES[kind])
    size = math.prod(shape) * dtype.itemsize
    if limit is not None and size > limit:
        raise FormatError(f"{where}: shape {tuple(shape)} of {dtype.name} is {size} bytes, more than the {limit} that "
                          "this file may hold")
    data = _bytes(file, math.prod(shape) * dtype.itemsize, f"{where}: shape {tuple(shape)} of {dtype.name}")
    if file.read(1):
        raise FormatError(f"{where}: shape {tuple(shape)} of {dtype.name} is {len(data)} bytes, and the file goes on")
    try:
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:             # more axes than NumPy has
        raise FormatError(f"{where}: shape {tuple(shape)}: {error}") from None


def _bytes(file: Any, count: int, what: str) -> bytes:
    """Exactly ``count`` bytes."""
    pieces, left = [], count
    while left and (piece := file.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise FormatError(f"{what}: needs {count} bytes, there are {count - left} ({count - left} < {count})")
    return b"".join(pieces)


def npz(path: str | os.PathLike[str], limit: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """{name: array} of an npz file. Objects are refused: to read them is to run what the file says.

    ``limit``: the most bytes that its arrays may have together; None is 100 times the file's size, or 64 MiB if that is
    more.

    Raises ``FormatError`` for what is no npz file, is damaged, holds objects, two arrays of one name or more bytes than
    the limit, and for what is no file, such as a device.

    >>> from importlib.resources import files
    >>> from microgradx import data
    >>> {name: a.shape for name, a in data.npz(files("microgradx.data") / "digits.npz").items()}
    {'pixels': (1797, 64), 'labels': (1797,)}
    """
    import zipfile
    path = os.fsdecode(path)
    where = f"npz: {path!r}"
    with open_file(path, "npz") as file:
        if not zipfile.is_zipfile(file):
            raise FormatError(f"{where}: is no npz file")
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as members:
                return _arrays(members, _limit(file, limit), where)
        except FormatError:
            raise
        except Exception as error:          # half a dozen parsers, each with errors of its own
            if is_of_a_signal(error):
                raise
            raise FormatError(f"{where}: {error or type(error).__name__}") from None


def _arrays(members: Any, limit: int, where: str) -> dict[str, npt.NDArray[Any]]:
    entries = [(entry, entry.filename.removesuffix(".npy")) for entry in members.infolist()]
    repeated = first_repeated(name for _, name in entries)
    if repeated is not None:
        raise FormatError(f"{where}: two arrays are called {repeated!r:.80}")
    size = sum(entry.file_size for entry, _ in entries)
    if size > limit:
        raise FormatError(f"{where}: unpacks to {size} bytes, more than the {limit} that this file may hold")
    arrays = {}
    for entry, name in entries:
        with members.open(entry) as member:             # which ends where the entry says
            content = BytesIO(member.read())
        if bytes(content.getbuffer()[:6]) != b"\x93NUMPY":
            raise FormatError(f"{where}: {name!r} is no array")
        arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
    return arrays


make_public(__name__)
