from collections.abc import Callable
from typing import Any

from microgradx._core.capture.program import Program

class Compiled:
    """What ``mgx.compile`` returns."""

    function: Callable[..., Any]
    passes: set[str]
    shared: Callable[[], Any] | None
    size: int
    reasons: dict[str, int]
    def __init__(self, function: Callable[..., Any], passes: set[str],
                 shared: Callable[[], Any] | None = None, size: int = 16) -> None: ...
    def __get__(self, instance: Any, owner: Any) -> Any: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def explain(self) -> str: ...
    @property
    def programs(self) -> list[Program]: ...
