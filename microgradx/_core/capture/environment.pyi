from collections.abc import Iterable
from typing import Any

class Missing:
    """What a variable or an attribute that is not there was."""

MISSING: Missing

class Environment:
    """A snapshot of what can be reached from ``roots``."""

    strict: bool
    exact: bool
    reason: str | None
    changed: str | None
    def __new__(cls, roots: Iterable[Any], strict: bool = False) -> Environment: ...

def is_installed(name: str) -> bool: ...
