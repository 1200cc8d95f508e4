from typing import Any

from microgradx._core.capture.guards import Guard

MEMORY: str

def why_not_captured(result: Any) -> str | None: ...

class CapturedCall:
    """A captured call: guards, effects and a program."""

    read: set[int]
    guards: list[Guard]
    flat: bool
    as_it_is: str | None
    failed: str | None
    replays: int
    def run_again(self, leaves: Any, parents: list[Any], cotangents: list[Any]) -> list[Any]: ...
    def seconds(self, rounds: int = 20) -> list[float] | None: ...
    def explain(self) -> str: ...
