"""Maps of distributions' values, with the logarithm of their derivative: torch's transforms of single numbers."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.errors import NotImplementedError_, OptionError
from microgradx.names import make_public

__all__ = ["AffineTransform", "ComposeTransform", "ExpTransform", "SigmoidTransform", "TanhTransform", "Transform"]


class Transform:
    """A map y = f(x) of each number: a subclass defines ``_call(x)``, ``_inverse(y)``, ``log_abs_det_jacobian(x, y)``.

    ``transform(x)`` maps, ``transform.inv(y)`` maps back. With ``cache_size=1`` the last x is remembered, so that its y
    is mapped back without rounding.

    >>> import microgradx as mgx
    >>> from microgradx.distributions.transforms import ExpTransform
    >>> f = ExpTransform()
    >>> f(mgx.Tensor([0.0])), f.inv(mgx.Tensor([1.0]))
    (Tensor([1.]), Tensor([0.]))
    """

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise OptionError(f"{type(self).__name__}: cache_size={cache_size!r} is not 0 or 1")
        self.cache_size = cache_size
        self._last: tuple[Any, Any] = (None, None)

    def __call__(self, x: Tensor) -> Tensor:
        y = self._call(x)
        if self.cache_size:
            self._last = x, y
        return y

    def inv(self, y: Tensor) -> Tensor:
        """The x whose map y is."""
        return self._last[0] if self._last[1] is y else self._inverse(y)

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError_(f"{type(self).__name__} does not say how it maps")

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError_(f"{type(self).__name__} does not say how it maps")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log abs(dy / dx)."""
        raise NotImplementedError_(f"{type(self).__name__} does not say how it maps")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ExpTransform(Transform):
    """y = exp(x)."""

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))."""

    def _call(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -(-x).softplus() - x.softplus()


class TanhTransform(Transform):
    """y = tanh(x)."""

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * (math.log(2) - x - (-2 * x).softplus())


class AffineTransform(Transform):
    """y = loc + scale x."""

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        if event_dim != 0:
            raise OptionError(f"AffineTransform: event_dim={event_dim!r}; each number is mapped by itself, event_dim=0")
        self.loc, self.scale = (t if isinstance(t, Tensor) else float(t) for t in (loc, scale))

    def _call(self, x: Tensor) -> Tensor:
        return x * self.scale + self.loc

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        scale = self.scale if isinstance(self.scale, Tensor) else Tensor(self.scale, dtype=x.dtype)
        return x.detach() * 0 + scale.abs().log()


class ComposeTransform(Transform):
    """One map after the other."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = list(parts)

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = x * 0
        for part in self.parts:
            following = part(x)
            total, x = total + part.log_abs_det_jacobian(x, following), following
        return total


make_public(__name__)
