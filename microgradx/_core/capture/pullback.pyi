from microgradx._core.array import AtOnce

class Pullback:
    """The backward pass of a captured call."""

class Residuals(AtOnce):
    """What one call leaves for its backward pass."""
