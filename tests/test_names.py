"""torch's spelling gives torch's numbers: every line of data/names/*.txt, beside what torch gave for it."""
import importlib.util
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx.errors import Error
from microgradx.names import KEYWORDS

NAMES = Path(__file__).parent / "data" / "names"
sys.path.insert(0, str(NAMES))
from world import evaluate, lines, outcome, plain, second_derivatives, weighted, world         # noqa: E402

TOPICS = {path.stem: json.loads(path.with_suffix(".json").read_text()) for path in sorted(NAMES.glob("*.txt"))}
CASES = [(topic, line) for topic in TOPICS for line in lines(NAMES / f"{topic}.txt")]
INTEGERS = {"int8": "int64", "int16": "int64", "int32": "int64", "uint8": "int64"}     # docs/differences.md: one width


def places():
    """Our modules by the names that the lines use."""
    modules = {"nn": "nn", "F": "nn.functional", "optim": "optim", "data": "data", "distributions": "distributions",
               "func": "func", "linalg": "linalg"}
    return {name: importlib.import_module(f"microgradx.{path}") for name, path in modules.items()
            if importlib.util.find_spec(f"microgradx.{path}")}


def check(got, want, path="value"):
    """``got`` is what torch gave: the same structure, dtypes and shapes, and the numbers within roundings."""
    if isinstance(want, dict) and "dtype" in want:
        assert isinstance(got, dict) and got["shape"] == want["shape"], f"{path}: {got} is not {want}"
        assert got["dtype"] == INTEGERS.get(want["dtype"], want["dtype"]), f"{path}: {got['dtype']}"
        close(got["numbers"], want["numbers"], want["dtype"], path)
    elif isinstance(want, dict):
        assert isinstance(got, dict) and got["keys"] == want["keys"], f"{path}: {got} is not {want}"
        check(got["values"], want["values"], path)
    elif isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want), f"{path}: {got} is not {want}"
        for at, (g, w) in enumerate(zip(got, want)):
            check(g, w, f"{path}[{at}]")
    elif isinstance(want, float):
        close([got], [want], "float32", path)
    else:
        assert type(got) is type(want), f"{path}: {got!r}, not {want!r}"
        assert INTEGERS.get(got, got) == INTEGERS.get(want, want), f"{path}: {got!r}, not {want!r}"


def close(got, want, dtype, path):
    """Numbers are equal within 2e-5 of the largest, 1e-9 in float64; integers and places of nan are the same."""
    got, want = np.array(got, float), np.array(want, float)
    if not dtype.startswith("float"):
        assert np.array_equal(got, want), f"{path}: {got} is not {want}"
        return
    finite = np.abs(want[np.isfinite(want)])
    bound = (1e-9 if dtype == "float64" else 2e-5) * max(1e-3, finite.max(initial=0.0))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=path)


@pytest.mark.filterwarnings("ignore::microgradx.errors.DifferenceWarning")
@pytest.mark.parametrize("topic, line", CASES, ids=[f"{t}: {text}" for t, text in CASES])
def test_torch_lines(topic, line):
    assert line in TOPICS[topic], "no record of this line: python tests/data/record_names.py"
    want = TOPICS[topic][line]
    mgx.manual_seed(0)
    got, error = outcome(line, mgx, places())
    if "error" in want:
        assert isinstance(error, (Error, TypeError, AttributeError)), f"torch raises {want['error']}, here {error!r}"
        assert len(str(error)) > 10
        return
    check(got["value"], want["value"])
    assert ("grads" in got) == ("grads" in want), "a graph is missing, or is one too many"
    for at, (g, w) in enumerate(zip(got.get("grads", ()), want.get("grads", ()), strict=True)):
        none = {**w, "numbers": [0.0] * len(w["numbers"])} if g is None and w else w     # no gradient is one of zeros
        check(none if g is None else g, w if w or not g else {**g, "numbers": [0.0] * len(g["numbers"])},
              f"gradient {at}")


def test_records_are_of_lines():
    """Nothing is recorded that no line asks for."""
    for topic, found in TOPICS.items():
        assert list(found) == lines(NAMES / f"{topic}.txt"), f"{topic}: record again"


def test_every_keyword_leads_somewhere():
    """An entry of the table that no function needs is taken out."""
    taken = []
    for space in (mgx, mgx.functional, mgx.nn, mgx.nn.functional, mgx.nn.init, mgx.optim, mgx.data, mgx.linalg,
                  mgx.arrays, mgx.indexing, mgx.random, mgx.func, mgx.nn.utils, mgx.optim.lr_scheduler,
                  mgx.Tensor):
        for thing in vars(space).values():
            for function in (thing, getattr(thing, "__init__", None), getattr(thing, "forward", None)):
                if inspect.isroutine(function) or inspect.isfunction(thing):
                    try:
                        taken.append(set(inspect.signature(function).parameters))
                    except (TypeError, ValueError):
                        pass
    dead = [(theirs, ours) for theirs, names in KEYWORDS.items() for ours in names
            if not any(ours in known and theirs not in known for known in taken)]
    assert not dead


# ----- second derivatives and capture --------------------------------------------------------------------------------

# of the largest number of the second derivative; factorisations of matrices of dependent columns lose digits
ROUNDINGS = [{"float32": 2e-4, "float64": 1e-9}, {"float32": 2e-3, "float64": 1e-7}]
# torch's fused backward pass of weight_norm has a derivative of its own that finite differences do not confirm
WRONG_IN_TORCH = "weight_norm(nn.Linear"
# what cancels, in torch and here, to roundings of the first derivative
CANCELS = {"torch.copysign(x, y)", "torch.copysign(x, -0.0)", "torch.copysign(input=d, other=x)",
           "torch.logaddexp2(x, y)",
           'torch.scatter_reduce(x, 0, i[:, :2] % 3, y[:, :2], "prod", include_self=False)',
           "x = x.clone(); x.copysign_(y)", "q = torch.linalg.qr(x.T); q.Q @ (q.R * 2)",
           "U, S, Vh = torch.linalg.svd(s, full_matrices=False); (U * S.unsqueeze(-2)) @ Vh",
           "torch.special.ndtri(torch.special.ndtr(x))"}
SECOND = [(topic, line) for topic, line in CASES if TOPICS[topic][line].get("second") and WRONG_IN_TORCH not in line]


@pytest.mark.filterwarnings("ignore::microgradx.errors.DifferenceWarning")
@pytest.mark.parametrize("topic, line", SECOND, ids=[f"{t}: {text}" for t, text in SECOND])
def test_second_derivatives(topic, line):
    """Where torch has one, it is ours: the gradients of a weighted sum of the gradients."""
    mgx.manual_seed(0)
    got, want = second_derivatives(line, mgx, places()), TOPICS[topic][line]["second"]
    got = [None] * len(want) if got is None else got
    first = max(abs(n) for g in TOPICS[topic][line]["grads"] if g for n in g["numbers"]) if line in CANCELS else 0.0
    for at, (g, w) in enumerate(zip(got, want, strict=True)):
        if g is not None or w is not None:
            ours, theirs = np.broadcast_arrays(*(np.zeros(1) if x is None else np.array(x["numbers"]) for x in (g, w)))
            bound = ROUNDINGS[topic == "linear"][(g or w)["dtype"]] * max(first, np.abs(theirs).max(initial=0.0))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound, err_msg=f"gradient {at}")


DIFFERENTIABLE = [(topic, line) for topic, line in CASES if "grads" in TOPICS[topic][line]]


@pytest.mark.filterwarnings("ignore::microgradx.errors.DifferenceWarning", "ignore::microgradx.errors.CompileWarning")
@pytest.mark.parametrize("topic, line", DIFFERENTIABLE, ids=[f"{t}: {text}" for t, text in DIFFERENTIABLE])
def test_a_captured_line_gives_the_same(topic, line):
    """Its values and gradients, to the last bit, at each of three calls."""
    def run(inputs):
        """The line, with these for the leaves; a line that makes modules has leaves of its own besides."""
        variables, _ = world(mgx, places(), inputs)
        floats = []
        plain(evaluate(line, variables), mgx.Tensor, floats)
        return floats

    def found(function):
        mgx.manual_seed(0)
        leaves = [leaf.detach().requires_grad_() for leaf in world(mgx, places())[1]]
        results = function(leaves)
        weighted(results, mgx, 5).backward()
        return [r.detach().numpy() for r in results], [None if x.grad is None else x.grad.numpy() for x in leaves]

    eager, compiled = found(run), mgx.compile(run)
    for _ in range(3):
        for got, want in zip(found(compiled), eager):
            assert len(got) == len(want)
            for g, w in zip(got, want):
                assert g is w is None or np.array_equal(g, w, equal_nan=True)
