from typing import Any

def settled(o: Any) -> Any: ...

class SymbolicFloat:
    """A number that moves."""
