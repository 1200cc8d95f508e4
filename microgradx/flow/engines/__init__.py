"""The libraries that a diagnosis can train with: ours and torch. ``engine_of`` says which one an object belongs to."""
import sys

from microgradx.flow.engines.engine import Engine
from microgradx.flow.engines.ours import Ours

__all__ = ["Engine", "engine_of"]

OURS = Ours()


def engine_of(model):
    """The ``Engine`` of a module, None for what is no module of any library. torch is not imported for it: a module of
    torch's cannot exist before torch was imported.

    >>> from microgradx import nn
    >>> from microgradx.flow.engines import engine_of
    >>> engine_of(nn.Linear(2, 3)).name, engine_of("a word")
    ('microgradx', None)
    """
    if OURS.is_model(model):
        return OURS
    if "torch" in sys.modules:
        from microgradx.flow.engines.torch import TORCH
        if TORCH.is_model(model):
            return TORCH
    return None
