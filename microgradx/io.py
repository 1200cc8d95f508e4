"""Saving and loading: safetensors files, written whole or not at all. Nothing in them is ever executed.

A tensor stands in the file under its dotted name. Where an object is more than a flat dict of tensors, its
structure, with the numbers and texts in it, stands in the file's metadata as JSON: a dict, list or tuple is
``{"dict": [[key, item], ...]}``, ``{"list": [...]}``, ``{"tuple": [...]}``, a tensor ``{"tensor": name}``, and
anything else itself. Other programs see the tensors; files of other programs are flat dicts.
"""
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, Error, FormatError, OptionError

__all__ = ["load", "save"]

STRUCTURE = "microgradx"                    # the entry of the metadata that holds it


def save(obj: object, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write ``obj`` to ``path``: a Tensor or array, a module or optimizer (its ``state_dict``), or dicts, lists and
    tuples of these, of numbers, texts and None. ``metadata``: texts to go with it.

    The file of that name, if any, is replaced in one step when the new one is complete and on the disk; after an
    error it is what it was.

    Raises ``DTypeError`` for what cannot be stored, ``OptionError`` for two tensors of one dotted name or an object
    that contains itself.

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
    Mismatch(missing_keys=[], unexpected_keys=[])
    >>> step.load_state_dict(state["step"])
    >>> state["epoch"]
    3
    """
    if isinstance(obj, (str, bytes, os.PathLike)):
        raise DTypeError(f"save: the object comes first, then the path: save(obj, path), not save({obj!r:.40}, ...)")
    texts = dict(metadata or {})
    for key, text in texts.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise DTypeError(f"save: metadata are texts under texts, not {key!r}: {text!r:.40}")
        if key == STRUCTURE:
            raise OptionError(f"save: the entry {key!r} of the metadata is taken")
    tensors: dict[str, np.ndarray] = {}
    try:
        structure = _pack(obj, "", tensors)
    except RecursionError:
        raise OptionError("save: the object contains itself, or is nested too deep") from None
    if structure != {"dict": [[name, {"tensor": name}] for name in tensors]}:
        texts[STRUCTURE] = json.dumps(structure)
    from safetensors.numpy import save as encode  # imported late: few programs save
    _write(os.path.realpath(os.fsdecode(path)), encode(tensors, texts or None))


def load(path: str | os.PathLike[str], metadata: bool = False) -> Any:
    """What ``save`` wrote to ``path``, with arrays as Tensors and modules as their ``state_dict``; of a file from
    elsewhere, a dict of its tensors. With ``metadata``, a pair: that and a dict of texts.

    Raises ``FormatError`` for a file that is cut short, damaged, of another kind, or holds other numbers than a
    Tensor does; ``OSError`` where there is no file to read.
    """
    from safetensors import SafetensorError, safe_open
    path = os.fsdecode(path)
    try:
        with open(path, "rb"), safe_open(path, framework="numpy") as file:      # open() says best what is missing
            texts = file.metadata() or {}
            tensors = {name: Tensor(file.get_tensor(name)) for name in file.keys()}
    except (SafetensorError, Error, AttributeError, TypeError, ValueError) as error:
        raise FormatError(f"load: {path!r}: {error}") from None
    structure = texts.pop(STRUCTURE, None)
    result: Any = tensors
    if structure is not None:
        try:
            result = _unpack(json.loads(structure), tensors)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FormatError(f"load: {path!r}: the structure is damaged: {error!r}") from None
        if tensors:
            raise FormatError(f"load: {path!r}: the structure has no place for {sorted(tensors)}")
    return (result, texts) if metadata else result


def _pack(obj: object, name: str, tensors: dict[str, Any]) -> Any:
    """``obj`` as JSON; its arrays go to ``tensors`` under names that begin with ``name``."""
    if hasattr(obj, "state_dict"):
        obj = obj.state_dict()
    if isinstance(obj, (Tensor, np.ndarray)):
        name = name or "tensor"
        if name in tensors or name == "__metadata__":
            raise OptionError(f"save: a second tensor would be called {name!r}" if name in tensors else
                              f"save: no tensor can be called {name!r} in a safetensors file")
        tensors[name] = np.asarray(obj.detach() if isinstance(obj, Tensor) else Tensor(obj), order="C")
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


def _write(path: str, content: bytes) -> None:
    """All of it or nothing: under another name first, which then takes the place of the old file."""
    part = f"{path}.{os.urandom(4).hex()}.part"
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise
