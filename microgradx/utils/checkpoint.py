"""Less memory for more time, under torch's names."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from microgradx.autograd import checkpoint as checkpointed
from microgradx.errors import OptionError
from microgradx.names import make_public

__all__ = ["checkpoint", "checkpoint_sequential"]


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None, context_fn: Any = None,
               determinism_check: str = "default", debug: bool = False, preserve_rng_state: bool = True,
               **kwargs: Any) -> Any:
    """``microgradx.checkpoint(function, *args, **kwargs)``: between arguments and results nothing is kept, and
    ``backward`` runs the function again, with the same random numbers.

    ``use_reentrant`` may be either: there is one way. Raises ``OptionError`` for a ``context_fn`` and for
    ``preserve_rng_state=False``, which are torch's own.

    >>> import microgradx as mgx
    >>> from microgradx.utils.checkpoint import checkpoint
    >>> x = mgx.Tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: x.square().sum(), x, use_reentrant=False).backward()
    >>> x.grad
    Tensor([2., 4.])
    """
    if context_fn is not None or not preserve_rng_state or determinism_check not in ("default", "none"):
        raise OptionError("checkpoint: the second run is as the first one; context_fn, determinism_check and "
                          "preserve_rng_state=False are not there")
    return checkpointed(function, *args, **kwargs)


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None,
                          **kwargs: Any) -> Any:
    """The layers of a ``Sequential``, or a list of functions, in ``segments`` parts, all but the last checkpointed.

    >>> import microgradx as mgx
    >>> from microgradx.utils.checkpoint import checkpoint_sequential
    >>> checkpoint_sequential([mgx.exp, mgx.log, mgx.exp], 2, mgx.zeros(1))
    Tensor([1.])
    """
    layers = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if isinstance(segments, bool) or not isinstance(segments, int) or not 1 <= segments <= max(len(layers), 1):
        raise OptionError(f"checkpoint_sequential: segments={segments!r} of {len(layers)} functions")
    size, x = len(layers) // segments, input
    for at in range(segments - 1):
        x = checkpoint(_in_turn(layers[at * size:(at + 1) * size]), x, use_reentrant=use_reentrant, **kwargs)
    return _in_turn(layers[(segments - 1) * size:])(x)


def _in_turn(layers: Iterable[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x
    return run


make_public(__name__)
