PASSES: frozenset[str]

class LiveRanges:
    """From which step to which each storage lives that the steps name."""
