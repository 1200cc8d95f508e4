"""torch's paths: utils.data, utils.checkpoint."""
import numpy as np
import pytest

import microgradx as mgx
import microgradx.utils
from microgradx import data, nn
from microgradx.errors import OptionError
from microgradx.utils.checkpoint import checkpoint, checkpoint_sequential


def test_data_is_data():
    assert microgradx.utils.data is data and microgradx.utils.checkpoint.checkpoint is checkpoint


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_checkpoints_change_no_number(segments):
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 1, rng=1))
    grads = []
    for run in (lambda x: net(x), lambda x: checkpoint(net, x, use_reentrant=False),
                lambda x: checkpoint_sequential(net, segments, x, use_reentrant=True)):
        mgx.manual_seed(0)
        x = mgx.Tensor(np.ones((2, 3), "float32"), requires_grad=True)
        net.zero_grad()
        run(x).sum().backward()
        grads.append([p.grad.tolist() for p in [x, *net.parameters()]])
    assert grads[0] == grads[1] == grads[2]


@pytest.mark.parametrize("call", [
    lambda: checkpoint(mgx.exp, mgx.zeros(1), context_fn=print),
    lambda: checkpoint(mgx.exp, mgx.zeros(1), preserve_rng_state=False),
    lambda: checkpoint_sequential([mgx.exp], 2, mgx.zeros(1)),
    lambda: checkpoint_sequential([mgx.exp], 0, mgx.zeros(1))])
def test_refused(call):
    with pytest.raises(OptionError, match="checkpoint"):
        call()
