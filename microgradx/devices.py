"""The one device, the CPU, and torch's questions after others: ``mgx.device("cpu")``, ``mgx.cuda.is_available()``."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from microgradx.errors import OptionError, is_device

__all__ = ["backends", "cuda", "device"]


class device:
    """Where tensors are: the CPU. ``type`` is "cpu", ``index`` None. Any other device raises ``OptionError``.

    >>> import microgradx as mgx
    >>> mgx.device("cuda" if mgx.cuda.is_available() else "cpu")
    device(type='cpu')
    """
    __slots__ = ()
    type = "cpu"
    index = None

    def __init__(self, type: Any = "cpu", index: Any = None) -> None:
        if not is_device("device", type) or index not in (None, 0):
            raise OptionError(f"device: {type!r} is no device here; microgradx runs on the CPU, 'cpu'")

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device)

    def __hash__(self) -> int:
        return hash("cpu")


CPU = device()


def nowhere(*args: Any, **kwargs: Any) -> bool:
    """Is there another device? There is none."""
    return False


def nothing(*args: Any, **kwargs: Any) -> None:
    """What a call to a device that is not there does, where torch does nothing without one either."""


cuda = SimpleNamespace(is_available=nowhere, device_count=lambda: 0, manual_seed=nothing, manual_seed_all=nothing,
                       empty_cache=nothing, is_initialized=nowhere)
mps = SimpleNamespace(is_available=nowhere, is_built=nowhere, manual_seed=nothing, empty_cache=nothing)
backends = SimpleNamespace(cudnn=SimpleNamespace(is_available=nowhere, enabled=False, benchmark=False,
                                                 deterministic=True),
                           mps=mps, mkl=SimpleNamespace(is_available=nowhere),
                           cuda=SimpleNamespace(is_built=nowhere))
