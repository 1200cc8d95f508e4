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
    assert isinstance(net, nn.Module) and net(mgx.Tensor([[0, 1, 2]])).shape == (1, 3, 5)
