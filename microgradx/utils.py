"""``microgradx.utils.data``, which is ``microgradx.data``: torch's path."""
from microgradx import data as data

__all__ = ["data"]
