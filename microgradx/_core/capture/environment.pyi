from collections.abc import Iterable
from typing import Any

class Environment:
    """A snapshot of what can be reached from ``roots``."""

    strict: bool
    exact: bool
    reason: str | None
    changed: str | None
    def __new__(cls, roots: Iterable[Any], strict: bool = False) -> Environment: ...

class Notes:
    """What the code of an environment only writes to, as it was."""

    def __init__(self, environment: Environment) -> None: ...

def contents_of(o: Any, into: dict[int, Any], depth: int = 0) -> dict[int, Any]: ...
def is_installed(name: str) -> bool: ...
