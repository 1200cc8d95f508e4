from collections.abc import Iterable
from typing import Any

class Environment:
    """A snapshot of what can be reached from ``roots``."""

    reason: str | None
    def __new__(cls, roots: Iterable[Any]) -> Environment: ...
