"""Python's own: nothing here is a box."""
from builtins import dict, isinstance, list, tuple, type  # noqa: F401, UP029
