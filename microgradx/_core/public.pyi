from collections.abc import Callable
from typing import Any

class Public:
    """A function of the interface behind a door that knows other names of its arguments and names its errors."""

    def __init__(self, function: Callable[..., Any], known: frozenset[str] | None,
                 rename: Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]],
                 named: Callable[[Exception, Any], Exception], direct: Callable[..., Any] | None = None,
                 kind: type | None = None, least: int = 1, most: int = 0) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: object, owner: type | None) -> Any: ...
