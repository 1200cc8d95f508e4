"""The instrument for the vanishing-gradient problem: what is measured, and what theory expects.

>>> import microgradx as mgx
>>> from microgradx import flow, nn
>>> x, y = mgx.data.digits()
>>> net = nn.Sequential(nn.Linear(64, 400, rng=0), nn.ReLU(), nn.Linear(400, 400, rng=1), nn.ReLU(),
...                     nn.Linear(400, 10, rng=2))
>>> with flow.watch(net) as record:
...     nn.functional.cross_entropy(net(mgx.Tensor(x[:256])), y[:256]).backward()
>>> gain = record.attribution().gain[0]                 # by what the error's norm is multiplied on its way to layer 1
>>> bool(abs(gain / record.expected().gain[0] - 1) < 0.05)
True
"""
from microgradx.flow import metrics, quadrature, records, theory, torch
from microgradx.flow.diagnosis import assert_gradient_flow, diagnose
from microgradx.flow.explain import explain
from microgradx.flow.loop import watch

__all__ = ["assert_gradient_flow", "diagnose", "explain", "metrics", "quadrature", "records", "theory", "torch",
           "watch"]
