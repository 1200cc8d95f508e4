from collections.abc import Callable
from typing import Any

from microgradx._core.capture.program import Program

class Compiled:
    """What ``mgx.compile`` returns."""

    function: Callable[..., Any]
    def __init__(self, function: Callable[..., Any], passes: set[str],
                 shared: Callable[[], Any] | None = None) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def explain(self) -> str: ...
    @property
    def programs(self) -> list[Program]: ...
