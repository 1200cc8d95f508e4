"""The one device, the CPU, and torch's questions after others: ``mgx.device("cpu")``, ``mgx.cuda.is_available()``."""
from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from microgradx.errors import OptionError, is_device
from microgradx.names import make_public, missing

F = TypeVar("F", bound=Callable[..., Any])
X = TypeVar("X")
__all__ = ["accelerator", "amp", "autocast", "backends", "cuda", "device", "get_default_device", "mps",
           "set_default_device"]


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


def module(name: str, **found: Any) -> ModuleType:
    """The module ``microgradx.name`` with these names, for ``import microgradx.backends.cudnn as cudnn``."""
    def __getattr__(attribute: str) -> Any:
        raise AttributeError(missing(attribute, found, made.__name__))

    made = ModuleType(f"microgradx.{name}", f"torch's path {name}.")
    vars(made).update(found, __getattr__=__getattr__, __path__=[])
    sys.modules[made.__name__] = made
    return made


class autocast:
    """Half precision where torch has it: there is none here, so this only does nothing where torch does nothing.

    That is with ``enabled=False``, and for "cuda" on a machine without it. Else ``OptionError``.

    >>> import microgradx as mgx
    >>> with mgx.autocast("cuda", enabled=mgx.cuda.is_available()):
    ...     mgx.ones(2).dtype
    dtype('float32')
    """

    def __init__(self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:
        if not isinstance(device_type, str):
            raise OptionError(f"autocast: device_type is the name of a device, 'cpu', not {device_type!r}")
        if enabled and device_type != "cuda":
            raise OptionError(f"autocast: there is no half precision on {device_type!r}; enabled=False computes in "
                              "float32")

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was changed."""

    def __call__(self, function: F) -> F:
        return function


class GradScaler:
    """Scales losses for half precision. As in torch without CUDA it is disabled, and passes everything on.

    Raises ``OptionError`` for ``device="cpu"`` unless ``enabled=False``.

    >>> import microgradx as mgx
    >>> scaler = mgx.amp.GradScaler()
    >>> scaler.is_enabled(), scaler.get_scale()
    (False, 1.0)
    """

    def __init__(self, device: str = "cuda", init_scale: float = 65536.0, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True) -> None:
        if enabled and device != "cuda":
            raise OptionError(f"GradScaler: there is no half precision on {device!r}, so no loss needs a scale; pass "
                              "enabled=False")

    def scale(self, outputs: X) -> X:
        """The outputs as they are."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing was scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The step of the optimizer."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """There is no scale."""

    def is_enabled(self) -> bool:
        """It is not."""
        return False

    def get_scale(self) -> float:
        """1."""
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        """Empty, as that of torch's when it is disabled."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is no state."""


def set_default_device(device: Any) -> None:
    """Where tensors are made from now on: the CPU, or ``OptionError``."""
    CPU.__class__(device)


def get_default_device() -> device:
    """Where tensors are made: the CPU."""
    return CPU


amp = module("amp", autocast=autocast, GradScaler=GradScaler)
cuda = module("cuda", is_available=nowhere, device_count=lambda: 0, manual_seed=nothing, manual_seed_all=nothing,
              empty_cache=nothing, is_initialized=nowhere,
              amp=module("cuda.amp", GradScaler=GradScaler,
                         autocast=lambda enabled=True, dtype=None, cache_enabled=True: autocast(
                             "cuda", dtype, enabled)))
mps = module("mps", is_available=nowhere, manual_seed=nothing, empty_cache=nothing)
accelerator = module("accelerator", is_available=nowhere, device_count=lambda: 0,
                     current_accelerator=lambda check_available=False: None)
backends = module("backends",
                  cudnn=module("backends.cudnn", is_available=nowhere, enabled=False, benchmark=False,
                               deterministic=True, version=lambda: None),
                  mps=module("backends.mps", is_available=nowhere, is_built=nowhere),
                  mkl=module("backends.mkl", is_available=nowhere),
                  cuda=module("backends.cuda", is_built=nowhere))


make_public(__name__)
