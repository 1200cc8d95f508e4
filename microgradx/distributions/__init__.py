"""Distributions under torch's names: densities, draws with and without gradients, divergences."""
from microgradx.distributions import constraints as constraints, transforms as transforms
from microgradx.distributions.bernoulli import Bernoulli as Bernoulli
from microgradx.distributions.beta import Beta as Beta
from microgradx.distributions.binomial import Binomial as Binomial
from microgradx.distributions.categorical import Categorical as Categorical
from microgradx.distributions.cauchy import Cauchy as Cauchy
from microgradx.distributions.chi2 import Chi2 as Chi2
from microgradx.distributions.dirichlet import Dirichlet as Dirichlet
from microgradx.distributions.distribution import Distribution as Distribution
from microgradx.distributions.exponential import Exponential as Exponential
from microgradx.distributions.gamma import Gamma as Gamma
from microgradx.distributions.geometric import Geometric as Geometric
from microgradx.distributions.gumbel import Gumbel as Gumbel
from microgradx.distributions.half_normal import HalfNormal as HalfNormal
from microgradx.distributions.independent import Independent as Independent
from microgradx.distributions.kl import kl_divergence as kl_divergence, register_kl as register_kl
from microgradx.distributions.laplace import Laplace as Laplace
from microgradx.distributions.log_normal import LogNormal as LogNormal
from microgradx.distributions.mixture_same_family import MixtureSameFamily as MixtureSameFamily
from microgradx.distributions.multinomial import Multinomial as Multinomial
from microgradx.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from microgradx.distributions.normal import Normal as Normal
from microgradx.distributions.one_hot_categorical import (
    OneHotCategorical as OneHotCategorical, OneHotCategoricalStraightThrough as OneHotCategoricalStraightThrough)
from microgradx.distributions.poisson import Poisson as Poisson
from microgradx.distributions.relaxed_bernoulli import (
    LogitRelaxedBernoulli as LogitRelaxedBernoulli, RelaxedBernoulli as RelaxedBernoulli)
from microgradx.distributions.relaxed_categorical import (
    ExpRelaxedCategorical as ExpRelaxedCategorical, RelaxedOneHotCategorical as RelaxedOneHotCategorical)
from microgradx.distributions.student_t import StudentT as StudentT
from microgradx.distributions.transformed_distribution import TransformedDistribution as TransformedDistribution
from microgradx.distributions.uniform import Uniform as Uniform
from microgradx.distributions.transforms import (
    AffineTransform as AffineTransform, ComposeTransform as ComposeTransform, ExpTransform as ExpTransform,
    SigmoidTransform as SigmoidTransform, TanhTransform as TanhTransform, Transform as Transform)

__all__ = ["AffineTransform", "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ComposeTransform",
           "Dirichlet", "Distribution", "ExpRelaxedCategorical", "ExpTransform", "Exponential", "Gamma", "Geometric",
           "Gumbel", "HalfNormal", "Independent", "Laplace", "LogNormal", "LogitRelaxedBernoulli",
           "MixtureSameFamily", "Multinomial", "MultivariateNormal", "Normal", "OneHotCategorical",
           "OneHotCategoricalStraightThrough", "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical",
           "SigmoidTransform", "StudentT", "TanhTransform", "Transform", "TransformedDistribution", "Uniform",
           "kl_divergence", "register_kl", "constraints", "transforms"]
