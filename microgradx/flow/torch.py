"""The former place of watching nets of PyTorch: ``flow.watch`` takes them."""
from microgradx.flow.loop import watch

__all__ = ["watch"]
