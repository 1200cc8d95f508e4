"""The examples run, and the net of one is the same after saving and loading."""
import runpy
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the tests run without the examples")


def test_digits_conv(tmp_path):
    program = runpy.run_path(str(EXAMPLES / "digits_conv.py"))
    with mgx.detect_nan():
        net, accuracy = program["train"](seed=0, epochs=3)
    assert accuracy > 0.85                              # 0.99 after 30
    mgx.save(net, tmp_path / "net.safetensors")
    twin = program["convolutional"](np.random.default_rng(1)).eval()
    twin.load_state_dict(mgx.load(tmp_path / "net.safetensors"))
    x = mgx.rand(5, 1, 8, 8, rng=0)
    assert (twin(x) == net(x)).all().item() and net.summary(x).total == 20698


def test_names_transformer():
    program = runpy.run_path(str(EXAMPLES / "names_transformer.py"))
    net = program["Transformer"](5)
    assert isinstance(net, nn.Module) and net(mgx.tensor([[0, 1, 2]])).shape == (1, 3, 5)


def test_moons_in_three_styles(monkeypatch):
    """Value by Value, vectorised, and tensors, eager and compiled: one curve."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    values, tensors = (runpy.run_path(str(EXAMPLES / f"moons_{kind}.py")) for kind in ("values", "tensors"))
    x, y = values["half_circles"](np.random.default_rng(0))
    one, other = (values["train"](vectorised, x, y, steps=6)[0] for vectorised in (False, True))
    eager, compiled = (tensors["run"](wrap(step), group, steps=6)[0] for wrap in (lambda step: step, mgx.compile)
                       for _, group, step in [tensors["training"](x, y)])
    assert one[-1] < 0.5 * one[0] and eager == compiled
    np.testing.assert_allclose(other, one, rtol=1e-12)
    np.testing.assert_allclose(eager, one, rtol=1e-12)
