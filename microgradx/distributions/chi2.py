"""The chi-squared distribution."""
from __future__ import annotations

from typing import Any

from microgradx.distributions import constraints
from microgradx.distributions.distribution import floats
from microgradx.distributions.gamma import Gamma
from microgradx.names import make_public

__all__ = ["Chi2"]


class Chi2(Gamma):
    """The distribution of the sum of ``df`` squares of normal numbers: Gamma(df / 2, 1 / 2).

    >>> from microgradx.distributions import Chi2
    >>> Chi2(3.0).mean, Chi2(3.0).df
    (Tensor(3.), Tensor(3.))
    """
    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        self.df, = floats("Chi2", df)
        super().__init__(self.df / 2, 0.5, validate_args)


make_public(__name__)
