from collections.abc import Callable, Sequence
from typing import Any

class HostOperation:
    """An operation that NumPy carries out, called as ``operation(*tensors, *options)`` with one or two tensors."""

    def __init__(self, name: str, results: Callable[..., Any], forward: Callable[..., Any],
                 vjps: Sequence[Any] = ()) -> None: ...
    def __call__(self, *args: Any) -> Any: ...
