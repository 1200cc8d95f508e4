"""Parametrizations of weights: by norm and direction, with spectral norm 1, and orthogonal ones."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor, concat
from microgradx._core.views import axis_of
from microgradx.creation import eye
from microgradx.errors import OptionError, ShapeError
from microgradx.linalg import matrix_exp, solve
from microgradx.names import make_public
from microgradx.nn.functional import normalize
from microgradx.nn.module import Module
from microgradx.nn.utils.parametrize import register_parametrization
from microgradx.random import randn
from microgradx.typing import Seed

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def weight_of(op: str, module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise OptionError(f"{op}: {type(module).__name__} has no parameter or buffer {name!r}")
    return weight


# ----- norm and direction --------------------------------------------------------------------------------------------

class WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        self.dim = dim

    def norms(self, v: Tensor) -> Tensor:
        """The norms of the slices along ``dim``, or of all."""
        if self.dim is None:
            return v.norm(2)
        at = axis_of("weight_norm", self.dim, v.ndim)
        others = tuple(k for k in range(v.ndim) if k != at)
        return v.norm(2, others, True) if others else v.abs()

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / self.norms(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self.norms(weight), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """g v / |v| in place of a weight, with norms g and directions v as parameters: Salimans and Kingma (2016).

    There is a norm for each index of ``dim``, or one for ``dim`` None. g is
    ``module.parametrizations.weight.original0``, v ``original1``. Returns the module.

    >>> from microgradx import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> {name: p.shape for name, p in layer.named_parameters()}
    {'bias': (2,), 'parametrizations.weight.original0': (2, 1), 'parametrizations.weight.original1': (2, 3)}
    """
    weight_of("weight_norm", module, name)
    return register_parametrization(module, name, WeightNorm(None if dim == -1 else dim))


# ----- spectral norm -------------------------------------------------------------------------------------------------

class SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, eps: float, dim: int, rng: Seed) -> None:
        self.dim, self.n_power_iterations, self.eps = dim, n_power_iterations, eps
        if weight.ndim > 1:
            for name, start in zip(("_u", "_v"), self.start(weight.detach(), eps, dim, rng)):
                self.register_buffer(name, start)

    @staticmethod
    def start(weight: Tensor, eps: float, dim: int, rng: Seed) -> tuple[Tensor, Tensor]:
        """The vectors of the largest singular value, near enough to begin with."""
        rows, columns = _matrix(weight, dim).shape
        u, v = (normalize(randn(n, rng=rng, dtype=weight.dtype), dim=0, eps=eps) for n in (rows, columns))
        _iterate(_matrix(weight, dim), u, v, 15, eps)
        return u, v

    @staticmethod
    def divided(weight: Tensor, u: Tensor, v: Tensor, count: int, eps: float, dim: int) -> Tensor:
        """The weight over its largest singular value, after ``count`` steps of the power method."""
        m = _matrix(weight, dim)
        _iterate(m.detach(), u, v, count, eps)
        return weight / (u.clone() * (m @ v.clone())).sum()         # a later call must not change what this one keeps

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        count = self.n_power_iterations if self.training else 0
        return self.divided(weight, self._u, self._v, count, self.eps, self.dim)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def _matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight as a matrix whose rows are the indices of ``dim``."""
    rows = weight.moveaxis(dim, 0)
    return rows.reshape(rows.shape[0], -1)


def _iterate(m: Tensor, u: Tensor, v: Tensor, count: int, eps: float) -> None:
    """``count`` steps of the power method towards the largest singular value's vectors u and v."""
    with no_grad():
        for _ in range(count):
            u.copy_(normalize(m @ v, dim=0, eps=eps))
            v.copy_(normalize(m.T @ u, dim=0, eps=eps))


def spectral_dim(op: str, module: Module, weight: Tensor, n_power_iterations: int, dim: int | None) -> int:
    """The axis of the rows, 0 unless told, 1 for transposed convolutions; the number of steps is checked, too."""
    if isinstance(n_power_iterations, bool) or not isinstance(n_power_iterations, int) or n_power_iterations < 1:
        raise OptionError(f"{op}: n_power_iterations={n_power_iterations!r} is not an integer >= 1")
    dim = int(getattr(module, "transposed", False)) if dim is None else dim
    return axis_of(op, dim, weight.ndim)


def spectral_norm(module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None, rng: Seed = None) -> Any:
    """A weight divided by its largest singular value, as a matrix with the axis ``dim`` first: Miyato et al. (2018).

    The singular value comes from the power method, ``n_power_iterations`` steps of it at every read in training.
    ``dim`` is 0 unless told, 1 for transposed convolutions. Returns the module.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3), n_power_iterations=50)
    >>> round(float(mgx.linalg.svdvals(layer.weight.detach())[0]), 4)
    1.0
    """
    weight = weight_of("spectral_norm", module, name)
    dim = spectral_dim("spectral_norm", module, weight, n_power_iterations, dim)
    return register_parametrization(module, name, SpectralNorm(weight, n_power_iterations, eps, dim, rng))


# ----- orthogonal ----------------------------------------------------------------------------------------------------

class _Orthogonal(Module):
    def __init__(self, orthogonal_map: str, use_trivialization: bool) -> None:
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.shape[-2] < x.shape[-1]
        x = x.mT if flat else x
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            q = _reflections(x.tril(-1)) * x.diagonal(0, -2, -1).sign().unsqueeze(-2)
        else:
            low = x.tril() if n == k else concat([x.tril(), Tensor(np.zeros((*x.shape[:-1], n - k), x.dtype))], -1)
            skew = low - low.mT
            if self.orthogonal_map == "matrix_exp":
                q = matrix_exp(skew)
            else:
                one = eye(n, dtype=x.dtype)
                q = solve(one - 0.5 * skew, one + 0.5 * skew)
            q = q[..., :k]
        base = getattr(self, "base", None)
        q = q if base is None else base @ q
        return q.mT if flat else q

    def right_inverse(self, weight: Tensor) -> Tensor:
        if "base" not in self._buffers:
            raise NotImplementedError("orthogonal: without use_trivialization a weight cannot be assigned")
        flat = weight.shape[-2] < weight.shape[-1]
        w = np.asarray((weight.mT if flat else weight).detach())
        q, r = np.linalg.qr(w, "complete")
        signs = np.ones(q.shape[:-2] + q.shape[-1:], q.dtype)
        signs[..., :r.shape[-1]] = np.where(np.diagonal(r, 0, -2, -1) < 0, -1.0, 1.0)
        self.base = Tensor(np.ascontiguousarray(q * signs[..., None, :]))
        start = np.zeros(weight.shape, w.dtype)
        at = np.arange(min(weight.shape[-2:]))
        start[..., at, at] = -1.0
        return Tensor(start)


def _reflections(v: Tensor) -> Tensor:
    """The first columns of the product of reflections at the columns of ``v`` with ones on the diagonal."""
    n, k = v.shape[-2:]
    one = eye(n, dtype=v.dtype)
    q = one[:, :k]
    for j in reversed(range(k)):
        w = (v[..., j] + one[j]).unsqueeze(-1)
        w = w / w.norm(2, -2, True)
        q = q - 2 * (w @ (w.mT @ q))
    return q


def orthogonal(module: Any, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Any:
    """A weight with orthonormal columns, or rows if it has more columns than rows: Lezcano-Casado (2019).

    ``orthogonal_map``: "matrix_exp" (the default for square ones), "cayley" or "householder" (the default otherwise)
    makes an orthogonal matrix of a free one. With ``use_trivialization`` it starts as the weight itself, made
    orthogonal, and weights may be assigned. Returns the module.

    >>> import numpy as np
    >>> from microgradx import nn
    >>> w = nn.utils.parametrizations.orthogonal(nn.Linear(4, 3)).weight
    >>> bool(np.allclose((w @ w.mT).numpy(), np.eye(3), atol=1e-5))
    True
    """
    weight = weight_of("orthogonal", module, name)
    if weight.ndim < 2:
        raise ShapeError(f"orthogonal: a matrix, or a batch of them, not of shape {weight.shape}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise OptionError(f"orthogonal: orthogonal_map is 'matrix_exp', 'cayley' or 'householder', not "
                          f"{orthogonal_map!r}")
    if orthogonal_map == "householder" and not use_trivialization:
        raise OptionError("orthogonal: use_trivialization=False goes with 'matrix_exp' and 'cayley', not 'householder'")
    return register_parametrization(module, name, _Orthogonal(orthogonal_map, use_trivialization))


make_public(__name__)
