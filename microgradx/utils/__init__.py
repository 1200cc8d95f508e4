"""torch's paths of what is elsewhere here: ``utils.data`` is ``microgradx.data``, ``utils.checkpoint``."""
from microgradx import data as data
from microgradx.utils import checkpoint as checkpoint

__all__ = ["checkpoint", "data"]
