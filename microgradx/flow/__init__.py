"""The instrument for the vanishing-gradient problem: what is measured, and what theory expects."""
from microgradx.flow import metrics, quadrature, theory
from microgradx.flow.explain import explain

__all__ = ["explain", "metrics", "quadrature", "theory"]
