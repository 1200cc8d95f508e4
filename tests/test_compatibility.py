"""What version 0.1.0 wrote is read as it was: saved states, and pickles of every class that has them."""
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, nn, optim

sys.path.append(str(Path(__file__).with_name("data")))
from record_files import FILES, OPTIMIZERS, SCHEDULES, net, numbers, parameters, pickled, saved, seen     # noqa: E402

READ = json.loads((FILES / "read.json").read_text())


def load(name):
    return mgx.load(FILES / f"{name}.safetensors")


def unpickle(name):
    return pickle.loads((FILES / f"{name}.pickle").read_bytes())


@pytest.mark.parametrize("name", READ["saved"])
def test_files(name):
    assert seen(load(name)) == READ["saved"][name]


def without(options, node):
    """What was seen, without the options of that name."""
    if isinstance(node, dict):
        return {key: [pair for pair in without(options, value) if pair[0] not in options] if key == "dict" else
                without(options, value) for key, value in node.items()}
    return [without(options, each) for each in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", READ["pickled"])
def test_pickles(name):
    """An optimizer has options besides, that came later: at what its steps were."""
    read = unpickle(name)
    if isinstance(read, nn.Module):             # whose text has become torch's
        now, before = seen(read), READ["pickled"][name]
        assert now["training"] == before["training"]
        assert dict(now["state"]["dict"]) == dict(before["state"]["dict"])      # in torch's order now
        return
    assert without({*getattr(read, "later", ()), *getattr(read, "neutral", ())}, seen(read)) == READ["pickled"][name]
    for group in getattr(read, "param_groups", ()):
        assert all(group[option] == value for option, value in {**read.later, **read.neutral}.items())


LAYERS = unpickle("layers")


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    """Layers of 0.1.0, pickled, with an input and what it gave then."""
    pickled, array, before = LAYERS[name]
    layer = pickle.loads(pickled)
    after = layer(Tensor(array) if array.dtype.kind == "f" else mgx.tensor(array))
    after = after[0] if isinstance(after, tuple) else after
    np.testing.assert_allclose(after.detach().numpy(), before, rtol=1e-5, atol=1e-6)
    assert repr(layer).startswith(name) and not layer.training
    assert repr(pickle.loads(pickle.dumps(layer))) == repr(layer)


def test_all_that_was_written_is_compared():
    names = {path.name for path in FILES.iterdir()} - {"read.json", "layers.pickle"}
    assert names == {f"{name}.safetensors" for name in READ["saved"]} | {f"{name}.pickle" for name in READ["pickled"]}
    assert READ["saved"].keys() == saved().keys() and READ["pickled"].keys() == pickled().keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_on(name):
    """From a pickle and from a state, by the same step."""
    of_pickle, weights = unpickle(f"optimizer-{name}"), parameters()
    of_state = getattr(optim, name)(weights, lr=1.0)
    of_state.load_state_dict(load(f"state-{name}"))
    own = of_pickle.param_groups[0]["params"]
    with mgx.no_grad():
        for p, q in zip(weights, own):
            p.copy_(q)
    for opt, params in (of_pickle, own), (of_state, weights):
        for p in params:
            p.grad = mgx.Tensor(numbers(*p.shape))
        opt.step()
    for p, q in zip(weights, own):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_on(name):
    """Further steps of a pickled schedule, and of one that loads the state, are those of one that never stopped."""
    of_pickle = unpickle(f"schedule-{name}")
    of_state = getattr(optim, name)(optim.SGD(parameters(), lr=0.5), *SCHEDULES[name])
    of_state.load_state_dict(load(f"state-{name}"))
    of_state.optimizer.param_groups[0]["lr"] = of_pickle.optimizer.param_groups[0]["lr"]
    for k in range(3):
        for schedule in of_pickle, of_state:
            schedule.optimizer.step()
            schedule.step(*([5.0 + k] if name == "ReduceLROnPlateau" else []))
        assert of_pickle.optimizer.param_groups[0]["lr"] == of_state.optimizer.param_groups[0]["lr"]


def test_a_net_goes_on():
    x = mgx.Tensor(numbers(3))
    ours, theirs = net(), unpickle("module")
    assert not any(theirs.load_state_dict(load("net")))
    for a, b in (ours[4], theirs[4]), (ours[2], theirs[2]), (ours[5], theirs[5]):
        np.testing.assert_array_equal(a(x).detach().numpy(), b(x).detach().numpy())
    generator = unpickle("generator")
    np.testing.assert_array_equal(generator.get_state().numpy(), load("random")["state"].numpy())
