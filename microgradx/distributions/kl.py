"""The Kullback-Leibler divergence of two distributions."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import digamma, lgamma
from microgradx.distributions.bernoulli import Bernoulli
from microgradx.distributions.beta import Beta
from microgradx.distributions.categorical import Categorical
from microgradx.distributions.dirichlet import Dirichlet
from microgradx.distributions.distribution import Distribution
from microgradx.distributions.exponential import Exponential
from microgradx.distributions.functions import log_beta
from microgradx.distributions.gamma import Gamma
from microgradx.distributions.geometric import Geometric
from microgradx.distributions.independent import Independent
from microgradx.distributions.laplace import Laplace
from microgradx.distributions.log_normal import LogNormal
from microgradx.distributions.multivariate_normal import MultivariateNormal
from microgradx.distributions.normal import Normal
from microgradx.distributions.one_hot_categorical import OneHotCategorical
from microgradx.distributions.poisson import Poisson
from microgradx.distributions.uniform import Uniform
from microgradx.errors import NotImplementedError_, OptionError
from microgradx.linalg import solve
from microgradx.names import make_public

__all__ = ["kl_divergence", "register_kl"]

Rule = Callable[[Any, Any], Tensor]
R = TypeVar("R", bound=Rule)
_rules: dict[tuple[type, type], Rule] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[R], R]:
    """A decorator: ``function(p, q)`` is the divergence for these classes and their subclasses."""
    def register(function: R) -> R:
        _rules[type_p, type_q] = function
        return function
    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expectation of log p(x) - log q(x) for x drawn from p; for each of the batch.

    Raises ``NotImplementedError`` for a pair of kinds that has no rule; ``register_kl`` adds one.

    >>> from microgradx.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0))
    Tensor(0.5)
    """
    for kind in type(p).__mro__:
        for other in type(q).__mro__:
            if (kind, other) in _rules:
                return _rules[kind, other](p, q)
    raise NotImplementedError_(f"kl_divergence: there is no rule for {type(p).__name__} and {type(q).__name__}; "
                              "register_kl adds one")


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio, away = (p.scale / q.scale).square(), ((p.loc - q.loc) / q.scale).square()
    return 0.5 * (ratio + away - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
def _log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return _normal(p, q)                                        # type: ignore[arg-type]  # one map of both


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return ((q.low > p.low) | (q.high < p.high)).where(float("inf"), result)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    result: Tensor = (b * (p.rate / q.rate).log() + lgamma(b) - lgamma(a) + (a - b) * digamma(a)
                      + (q.rate - p.rate) * (a / p.rate))
    return result


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    return (log_beta(c, d) - log_beta(a, b) + (a - c) * digamma(a) + (b - d) * digamma(b)
            + (c + d - a - b) * digamma(a + b))


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    result: Tensor = (lgamma(total) - lgamma(b.sum(-1)) + (lgamma(b) - lgamma(a)).sum(-1)
                      + ((a - b) * (digamma(a) - digamma(total).unsqueeze(-1))).sum(-1))
    return result


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    one, other = p.probs, q.probs
    first = one * ((-q.logits).softplus() - (-p.logits).softplus())
    second = (1 - one) * (q.logits.softplus() - p.logits.softplus())
    first = (one == 0).where(0.0, (other == 0).where(float("inf"), first))
    return first + (one == 1).where(0.0, (other == 1).where(float("inf"), second))


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    one, other = p.probs, q.probs
    terms = one * (p.logits - q.logits)
    return (one == 0).where(0.0, (other == 0).where(float("inf"), terms)).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p, q)                                   # type: ignore[arg-type]  # the same chances


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    n = p.event_shape[0]
    if n != q.event_shape[0]:
        raise OptionError(f"kl_divergence: vectors of {n} and of {q.event_shape[0]} numbers")
    shape = np.broadcast_shapes(p.batch_shape, q.batch_shape)
    root = q.scale_tril.expand(*shape, n, n)
    spread = solve(root, p.scale_tril.expand(*shape, n, n)).square().sum((-2, -1))
    away = solve(root, (q.loc - p.loc).expand(*shape, n).unsqueeze(-1)).square().sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (spread + away - n)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError_(f"kl_divergence: {p.reinterpreted_batch_ndims} and {q.reinterpreted_batch_ndims} "
                                   "axes of the batch belong to the events")
    return p._sum(kl_divergence(p.base_dist, q.base_dist))


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    width = p.high - p.low
    away = ((p.high + p.low - 2 * q.loc) / (2 * q.scale)).square()
    return (math.sqrt(2 * math.pi) * q.scale / width).log() + ((width / q.scale).square() / 12 + away) / 2


make_public(__name__)
