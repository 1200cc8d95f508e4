from typing import Any

class Program:
    """The steps of one capture, and what a replay has to read, write and hand out."""

    dropped: list[str]
    read: set[int]
    captured: int
    frozen: Any
    own_bytes: int
    planned_bytes: int
    def explain(self) -> str: ...
    def launches(self) -> Any: ...
    def seconds(self, rounds: int = 20) -> Any: ...

def note_call(module: Any) -> None: ...
def note_change(module: Any, name: str) -> None: ...
