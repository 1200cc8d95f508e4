"""What to expect of a net before it runs. ``meanfield`` has the theory of one wide random layer after another, for any
activation; a module for each family of layers composes it to the profile of a net.
"""
from microgradx.flow.theory.dense import (
    SCHEMES as SCHEMES, Expected as Expected, Scale as Scale, expected as expected, scale as scale, scheme as scheme)
from microgradx.flow.theory.meanfield import (
    Moments as Moments, Phase as Phase, chi as chi, correlation_map as correlation_map, edge_of_chaos as edge_of_chaos,
    edge_point as edge_point, fixed_correlation as fixed_correlation, fixed_variance as fixed_variance,
    moments as moments, phase as phase, variance_map as variance_map)

__all__ = ["SCHEMES", "Expected", "Moments", "Phase", "Scale", "chi", "correlation_map", "edge_of_chaos", "edge_point",
           "expected", "fixed_correlation", "fixed_variance", "moments", "phase", "scale", "scheme", "variance_map"]
