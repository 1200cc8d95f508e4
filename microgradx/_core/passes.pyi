PASSES: frozenset[str]

class Lives:
    """From which step to which each storage lives that the steps name."""
