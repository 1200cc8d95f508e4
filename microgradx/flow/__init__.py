"""The instrument for the vanishing-gradient problem: what is measured, and what theory expects."""
from microgradx.flow import metrics, quadrature, theory

__all__ = ["metrics", "quadrature", "theory"]
