class Pullback:
    """The backward pass of a captured call."""

class Residuals:
    """What one call leaves for its backward pass."""
