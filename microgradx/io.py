"""Saving and loading: safetensors files, written whole or not at all. Nothing in them is ever executed.

A tensor stands in the file under its dotted name. Where an object is more than a flat dict of tensors, its
structure, with the numbers and texts in it, stands in the file's metadata as JSON: a dict, list or tuple is
``{"dict": [[key, item], ...]}``, ``{"list": [...]}``, ``{"tuple": [...]}``, a tensor ``{"tensor": name}``, and
anything else itself. Other programs see the tensors; files of other programs are flat dicts.

What is read is believed in nothing: every length is compared with the file's before memory is asked for.
"""
from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from microgradx._core.tensor import Tensor, tensor
from microgradx.errors import DTypeError, Error, FormatError, OptionError, first_repeated, is_device
from microgradx.errors import ignored as ignored_errors
from microgradx.names import make_public

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:                         # Windows, where nobody can delete a file that is open
    flock = None                            # type: ignore[assignment]

__all__ = ["load", "save"]

STRUCTURE = "microgradx"                    # the entry of the metadata that holds it
MODULE = "microgradx.module"                # the entry that says that it is the state of a module, and of which
MOST_HEADER = 16 << 20                      # bytes: of names, shapes and structure, for which Python takes far more
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1"}
PIECE = 16 << 20                            # bytes that are written at once
PART = ".part"                              # the end of the name of a file that is being written


def save(obj: object, f: str | os.PathLike[str] | BinaryIO, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``obj`` to ``f``, a path or a file that is open for bytes: a Tensor or array, a module or optimizer (its
    ``state_dict``), or dicts, lists and tuples of these, of numbers, texts and None. ``metadata``: texts to go with it.

    The file of that name, if any, is replaced in one step when the new one is complete and on the disk; after an error
    it is what it was. The new one has its permissions, and its owner where the system lets us give it. Behind a link
    the file is replaced, not the link. A pipe or a device such as /dev/null is written to as it is, and so is a file
    that is open, a ``BytesIO``, say.

    Raises ``DTypeError`` for what cannot be stored, ``OptionError`` for two tensors of one dotted name, an object
    that contains itself, or one whose structure takes more than 16 MiB of text.

    >>> import os, tempfile
    >>> import microgradx as mgx
    >>> from microgradx import nn, optim
    >>> net = nn.Linear(2, 1)
    >>> step = optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.safetensors")
    ...     mgx.save({"net": net, "step": step, "epoch": 3}, path)
    ...     state = mgx.load(path)
    >>> net.load_state_dict(state["net"])
    <All keys matched successfully>
    >>> step.load_state_dict(state["step"])
    >>> state["epoch"]
    3
    """
    if isinstance(obj, (str, bytes, os.PathLike)):
        raise DTypeError(f"save: the object comes first, then the path: save(obj, path), not save({obj!r:.40}, ...)")
    if isinstance(f, (str, bytes)) and not f:
        raise OptionError("save: the path is empty")
    texts = dict(metadata or {})
    for key, text in texts.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise DTypeError(f"save: metadata are texts under texts, not {key!r}: {text!r:.40}")
        if key in (STRUCTURE, MODULE):
            raise OptionError(f"save: the entry {key!r} of the metadata is taken")
    tensors: dict[str, np.ndarray] = {}
    try:
        structure = _pack(obj, "", tensors)
    except RecursionError:
        raise OptionError("save: the object contains itself, or is nested too deep") from None
    if hasattr(obj, "state_dict") and callable(obj):
        texts[MODULE] = type(obj).__name__
    if structure != {"dict": [[name, {"tensor": name}] for name in tensors]}:
        texts[STRUCTURE] = json.dumps(structure)
    from safetensors.numpy import save as encode  # imported late: few programs save
    content = encode(tensors, texts or None)
    header, = struct.unpack_from("<Q", content)
    if STRUCTURE not in texts and [n for n in json.loads(content[8:8 + header]) if n != "__metadata__"] != [*tensors]:
        texts[STRUCTURE] = json.dumps(structure)        # the order of the names, which the format has not
        content = encode(tensors, texts)
        header, = struct.unpack_from("<Q", content)
    if header > MOST_HEADER:
        raise OptionError(f"save: names, shapes, texts and structure take {header} bytes, more than {MOST_HEADER}; "
                          "store long lists of numbers as tensors")
    if hasattr(f, "write"):
        try:
            f.write(content)
        except TypeError:
            raise DTypeError(f"save: {name_of(f)} is open for text; open(path, 'wb') is for bytes") from None
    else:
        write_whole(os.fsdecode(f), content)


class ModuleState(dict[str, Any]):
    """The state of a module that was saved whole: a dict, which says what to do where it is taken for the module."""

    def __init__(self, state: dict[str, Any], kind: str) -> None:
        super().__init__(state)
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"a {self.kind} is not stored in a file, its state is, a dict, which has no {name!r}: "
                             "make the model, then model.load_state_dict(mgx.load(path))")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__getattr__("forward")

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def name_of(f: Any) -> str:
    """How messages name a path or an open file."""
    return f"<{type(f).__name__}>" if hasattr(f, "read") or hasattr(f, "write") else repr(os.fsdecode(f))


def load(f: str | os.PathLike[str] | BinaryIO, map_location: Any = None, *, weights_only: bool = True,
         mmap: bool | None = None, metadata: bool = False) -> Any:
    """What ``save`` wrote to ``f``, a path or a file that is open for bytes, with arrays as Tensors and modules as
    their ``state_dict``; of a file from elsewhere, a dict of its tensors. With ``metadata``, a pair: that and a dict of
    texts.

    Nothing in a file is ever executed, so ``weights_only`` says nothing more, and ``mmap`` neither; ``map_location`` is
    the CPU, "cpu". Of an open file the rest is read, from where it stands.

    Half-precision numbers, float16 and bfloat16, become float32, and integers of all widths int64. The memory that is
    needed is at most eight times the file's size; a header of more than 16 MiB is refused.

    Raises ``FormatError`` for a file that is cut short, damaged, of another kind, or holds other numbers than a
    Tensor does; ``OSError`` where there is no file to read.
    """
    if isinstance(map_location, (bool, int)):
        raise OptionError(f"load: map_location={map_location!r} is none; microgradx runs on the CPU (metadata= goes by "
                          "name)")
    if map_location is not None and not callable(map_location):
        for place in map_location.values() if isinstance(map_location, Mapping) else [map_location]:
            if not is_device("load", place):
                raise OptionError(f"load: map_location={place!r} is none; microgradx runs on the CPU, 'cpu'")
    where = name_of(f)
    with _bytes_of(f) if hasattr(f, "read") else open_file(os.fsdecode(f), "load") as file:
        try:
            tensors, texts = _read(file)
        except (Error, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FormatError(f"load: {where}: {error or type(error).__name__}") from None
    structure = texts.pop(STRUCTURE, None)
    result: Any = tensors
    if structure is not None:
        try:
            result = _unpack(json.loads(structure), tensors)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FormatError(f"load: {where}: the structure is damaged: {error!r:.200}") from None
        if tensors:
            raise FormatError(f"load: {where}: the structure has no place for {sorted(tensors)!r:.200}")
    if (kind := texts.pop(MODULE, None)) is not None and type(result) is dict:
        result = ModuleState(result, kind)
    return (result, texts) if metadata else result


def _bytes_of(f: Any) -> BinaryIO:
    """What is left of an open file."""
    content = f.read()
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise DTypeError(f"load: {name_of(f)} is open for text; open(path, 'rb') is for bytes")
    if not content:
        raise FormatError(f"load: {name_of(f)}: nothing is left to read; f.seek(0) goes back to its beginning")
    return BytesIO(content)


# ----- objects as JSON -----------------------------------------------------------------------------------------------

def _pack(obj: object, name: str, tensors: dict[str, Any]) -> Any:
    """``obj`` as JSON; its arrays go to ``tensors`` under names that begin with ``name``."""
    if hasattr(obj, "state_dict"):
        obj = obj.state_dict()
    if isinstance(obj, (Tensor, np.ndarray)):
        name = name or "tensor"
        if name in tensors or name == "__metadata__":
            raise OptionError(f"save: a second tensor would be called {name!r}" if name in tensors else
                              f"save: no tensor can be called {name!r} in a safetensors file")
        tensors[name] = np.asarray(obj.detach() if isinstance(obj, Tensor) else tensor(obj), order="C")
        return {"tensor": name}
    if isinstance(obj, Mapping):
        for key in obj:
            if not isinstance(key, str) and type(key) is not int:
                raise DTypeError(f"save: a key of {name or 'the dict'!r} is {key!r:.40}, neither text nor integer")
        return {"dict": [[key, _pack(item, _join(name, key), tensors)] for key, item in obj.items()]}
    if isinstance(obj, (list, tuple)):
        return {"list" if isinstance(obj, list) else "tuple":
                [_pack(item, _join(name, k), tensors) for k, item in enumerate(obj)]}
    if isinstance(obj, np.generic):
        obj = obj.item()
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    raise DTypeError(f"save: {name or 'the object'!r} is a {type(obj).__name__}; tensors, numbers, texts, None and "
                     "dicts, lists and tuples of them are stored")


def _join(name: str, key: str | int) -> str:
    return f"{name}.{key}" if name else str(key)


def _unpack(node: Any, tensors: dict[str, Any]) -> Any:
    """The inverse of ``_pack``: takes each tensor out of ``tensors``."""
    if isinstance(node, list):
        raise ValueError("a list without its kind")
    if not isinstance(node, dict):
        return node
    [(kind, inside)] = node.items()
    if kind == "tensor":
        return tensors.pop(inside)
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in inside}
    return {"list": list, "tuple": tuple}[kind](_unpack(item, tensors) for item in inside)


# ----- reading -------------------------------------------------------------------------------------------------------

@contextmanager
def open_file(path: str, op: str) -> Iterator[BinaryIO]:
    """A file to read; ``FormatError`` for a pipe, a device or a socket, which may have no end."""
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FormatError(f"{op}: {path!r}: is a pipe, a device or a socket, not a file")
        yield file


def _read(file: BinaryIO) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, texts) of a safetensors file: 8 bytes, how long the header is, the header as JSON, the numbers."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(64)
    if len(start) < 8:
        raise FormatError(f"is {size} bytes long, too short for a safetensors file")
    length, = struct.unpack_from("<Q", start)
    if length > min(size - 8, MOST_HEADER):
        raise FormatError(_other_kind(start) or (
            f"a header of {length} bytes in a file of {size}" if length > size - 8 else
            f"a header of {length} bytes, more than {MOST_HEADER}"))
    file.seek(8)
    header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise FormatError("the header is no dict of tensors")
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise FormatError("the metadata are not texts")
    places, at = [], 0
    for name, entry in header.items():
        places.append((*_place(name, entry), name))
    for begin, end, *_, name in sorted(places, key=lambda place: place[:2]):
        if begin != at:
            raise FormatError(f"tensor {name!r:.80} begins at byte {begin} of the numbers, where byte {at} is the next")
        at = end
    if at != size - 8 - length:
        raise FormatError(f"the tensors have {at} bytes, and behind the header there are {size - 8 - length}")
    return {name: _tensor(file, 8 + length + begin, end - begin, dtype, shape, name)
            for begin, end, dtype, shape, name in places}, texts


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of JSON in which no key stands twice: programs would differ in which of the two they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError(f"the key {first_repeated(key for key, _ in pairs)!r:.80} stands twice in one dict")
    return found


def _place(name: str, entry: Any) -> tuple[int, int, str, list[int]]:
    """(first byte, byte behind the last, dtype, shape) of an entry of the header."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {name!r:.80}: an entry has dtype, shape and data_offsets, not {entry!r:.80}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FormatError(f"tensor {name!r:.80} is of {dtype!r:.20}{_advice(dtype)}")
    if not _lengths(shape) or not _lengths(offsets) or len(offsets) != 2:
        raise FormatError(f"tensor {name!r:.80}: shape {shape!r:.80} and bytes {offsets!r:.80} are not lists of "
                          "integers >= 0")
    needed = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != needed:
        raise FormatError(f"tensor {name!r:.80}: {dtype} of shape {tuple(shape)!r:.80} is {needed} bytes, not "
                          f"{offsets[0]} to {offsets[1]}")
    return offsets[0], offsets[1], dtype, shape


def _lengths(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)


def _advice(dtype: Any) -> str:
    """What to do about numbers that a Tensor does not hold."""
    if not isinstance(dtype, str):
        return ""
    if dtype.startswith("C"):
        return ", complex numbers; store their real and imaginary parts as two tensors"
    if dtype.startswith(("F8", "F6", "F4")):
        return ", floats of at most 8 bits; convert them to F16, BF16 or F32 with the program that made the file"
    return f"; there are {', '.join(DTYPES)}"


def _tensor(file: BinaryIO, at: int, count: int, dtype: str, shape: list[int], name: str) -> Tensor:
    file.seek(at)
    content = file.read(count)
    if len(content) != count:
        raise FormatError(f"tensor {name!r:.80}: {count} bytes, there are {len(content)}")
    numbers: npt.NDArray[Any] = np.frombuffer(content, DTYPES[dtype])
    if dtype == "BF16":                     # the upper half of a float32
        numbers = (numbers.astype("<u4") << 16).view("<f4")
    elif dtype == "BOOL":
        numbers = numbers != 0
    elif dtype == "F16":
        numbers = numbers.astype(np.float32)
    try:
        return Tensor(numbers.reshape(shape).astype(numbers.dtype.newbyteorder("="), copy=False))
    except (Error, ValueError) as error:
        raise FormatError(f"tensor {name!r:.80}: {error}") from None


def _other_kind(start: bytes) -> str:
    """What a file is that is no safetensors file, as far as its first bytes tell, and what to do."""
    torch = ("is a torch checkpoint, a pickle that would run what it says; where torch is, export it: "
             "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')")
    if start[:4] == b"PK\3\4":
        member = start[30:30 + int.from_bytes(start[26:28], "little")]
        if b".npy" in member:
            return "is an npz file: microgradx.data.npz or numpy.load gives its arrays"
        return torch if b"/" in member or b".pkl" in member else "is a zip file"
    if start[:6] == b"\x93NUMPY":
        return "is an npy file: numpy.load gives its array"
    if start[:2] == b"\x80\x02" and start[2:4] == b"\x8a\n":
        return torch
    if start[:1] == b"\x80" and 2 <= start[1] <= 5:
        return "is a pickle, which would run what it says"
    if start[:2] == b"\x1f\x8b":
        return "is packed with gzip"
    if start[:4] == b"\x89HDF":
        return "is an HDF5 file: h5py gives its arrays"
    return ""


# ----- writing -------------------------------------------------------------------------------------------------------

def write_whole(path: str, content: bytes) -> None:
    """All of it or nothing: under another name first, which then takes the place of the old file."""
    try:
        old = os.stat(path)
    except FileNotFoundError:               # also of a link to nothing: what it names is made
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        _write_into(path, old.st_mode, content)
        return
    folder, name = os.path.split(os.path.realpath(path))
    stem = _stem(name)
    _clear_parts(folder, stem)
    part, file = _open_part(folder, stem, 0o666 if old is None else 0o600)
    try:
        with file:
            for start in range(0, len(content), PIECE):             # signals are handled between pieces
                file.write(memoryview(content)[start:start + PIECE])
            file.flush()
            if old is not None:
                _keep_owner(file.fileno(), old)
            os.fsync(file.fileno())
            if flock is not None:
                os.replace(part, os.path.join(folder, name))        # still locked: nobody takes it for a leftover
        if flock is None:                   # Windows renames no open file
            os.replace(part, os.path.join(folder, name))
    except BaseException:
        with ignored_errors(FileNotFoundError):
            os.unlink(part)
        raise


def _write_into(path: str, kind: int, content: bytes) -> None:
    """Write to what is no file, and stays what it is."""
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        raise OptionError(f"save: {path!r} is a disk or a socket, not a file")
    with open(path, "wb") as file:
        file.write(content)


def _stem(name: str) -> str:
    """How the names of all parts of a file begin: with its own, if that leaves room for the rest."""
    encoded = os.fsencode(name)
    if len(encoded) <= 100:
        return name
    return f"{encoded[:60].decode('utf-8', 'ignore')}~{sha256(encoded).hexdigest()[:16]}"


def _open_part(folder: str, stem: str, mode: int) -> tuple[str, BinaryIO]:
    """A new file with a lock on it, by which it is told from what a killed program has left."""
    while True:
        part = os.path.join(folder, f"{stem}.{os.urandom(4).hex()}{PART}")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        except FileExistsError:
            continue
        file = os.fdopen(descriptor, "wb")
        if flock is None:
            return part, file
        with ignored_errors(OSError):             # file systems without locks
            flock(descriptor, LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return part, file
        file.close()                        # somebody took it for a leftover before it was locked


def _clear_parts(folder: str, stem: str) -> None:
    """Delete what programs that were killed while they saved this file have left."""
    with ignored_errors(OSError):
        pattern = re.compile(re.escape(stem) + "[.][0-9a-f]{8}" + re.escape(PART))
        for name in filter(pattern.fullmatch, os.listdir(folder)):
            with ignored_errors(OSError):
                _clear_part(os.path.join(folder, name))


def _clear_part(part: str) -> None:
    if flock is None:
        os.unlink(part)
        return
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)                        # raises while its writer lives
        os.unlink(part)
    finally:
        os.close(descriptor)


def _keep_owner(descriptor: int, old: os.stat_result) -> None:
    """Give the new file the owner and the permissions of the old one."""
    if hasattr(os, "fchown"):
        new = os.fstat(descriptor)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            try:
                os.fchown(descriptor, old.st_uid, old.st_gid)
            except PermissionError:
                with ignored_errors(PermissionError):
                    os.fchown(descriptor, -1, old.st_gid)
            new = os.fstat(descriptor)
        mode = stat.S_IMODE(old.st_mode)
        if new.st_gid != old.st_gid:        # another group may do what everybody may
            mode = mode & ~0o070 | (mode & 0o007) << 3
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            mode &= 0o777
        os.fchmod(descriptor, mode)


make_public(__name__)
