"""Costs and their modules: values recorded from torch, closed forms, bad input."""
import inspect
import math
import pickle

import numpy as np
import pytest
from recorded import SECOND, TOLERANCE, cases, zero_if_none

import microgradx as mgx
from microgradx import nn
from microgradx.errors import ArgumentError, DTypeError, IndexError_, OptionError, ShapeError
from microgradx.nn import costs, losses, margins
from microgradx.nn import functional as F

CASES = {case["id"]: case for case in cases("torch_training.npz") if case["kind"] == "cost"}


def leaf(data, dtype="float64"):
    return mgx.Tensor(np.asarray(data, dtype), requires_grad=True)


# ----- recorded values ---------------------------------------------------------------------------------------------

RECORDED = {case["op"] for case in CASES.values()}


def test_every_cost_is_a_module():
    for name in [*costs.__all__, *margins.__all__, *losses.LOSSES.values()]:
        assert name in losses.LOSSES.values(), (
            f"cost {name!r} is no module: write a subclass of _Loss with function = costs.{name} in nn/losses.py")
        assert name in costs.__all__ + margins.__all__, (
            f"functional.{name} is not handed on: name it in __all__ of nn/costs.py or nn/margins.py")
    for name in losses.LOSSES:
        assert name in nn.__all__, f"nn.{name} is not handed on: name it in __all__ of nn/losses.py"


@pytest.mark.parametrize("name", costs.__all__)
def test_every_cost_is_recorded_or_has_an_example(name):
    """All reductions of torch's costs; what torch has not, in numbers that a reader can check."""
    if name in RECORDED:
        reductions = {case["kwargs"]["reduction"] for case in CASES.values() if case["op"] == name}
        assert reductions == set(costs.KL_REDUCTIONS if name == "kl_div" else costs.REDUCTIONS)
    assert name in RECORDED or ">>>" in (getattr(costs, name).__doc__ or ""), (
        f"nothing says what {name} gives: add an example with numbers to its docstring, or record torch's "
        "(tests/data/record_training.py)")


@pytest.mark.parametrize("name", sorted({*costs.__all__} - RECORDED))
def test_a_cost_without_recorded_values(name):
    """Its reductions are those of its terms, its derivatives are right, and its module is the function."""
    cost, p, t = getattr(F, name), leaf(P), mgx.Tensor(T)
    terms = cost(p, t, reduction="none")
    assert math.isclose(cost(p, t).item(), terms.mean().item(), rel_tol=1e-14)
    assert math.isclose(cost(p, t, reduction="sum").item(), terms.sum().item(), rel_tol=1e-14)
    assert module_of(name)()(p, t).item() == cost(p, t).item()
    assert mgx.gradcheck(lambda p: cost(p, t), (p,)) and mgx.gradgradcheck(lambda p: cost(p, t), (p,))


def module_of(function):
    return getattr(nn, next(name for name, of in losses.LOSSES.items() if of == function))


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    """Value, gradient and second order; then the module, which is the same function."""
    case = CASES[name]
    dtype, given = case["dtype"], len(case["inputs"]) - len(case["names"])
    wants = case.get("grads") or [None] * given
    xs = [mgx.Tensor(x, requires_grad=g is not None and x.dtype.kind == "f")
          for x, g in zip(case["inputs"][:given], wants)]
    options = {n: mgx.Tensor(x) for n, x in zip(case["names"], case["inputs"][given:])}
    options |= {k: v for k, v in case["kwargs"].items()}
    y, truth = getattr(F, case["op"])(*xs, **options), case["outputs"][0]
    assert y.shape == truth.shape and y.dtype == truth.dtype
    np.testing.assert_allclose(y.detach().numpy(), truth, **TOLERANCE[dtype])
    assert (module_of(case["op"])(**options)(*xs).detach().numpy() == y.detach().numpy()).all()
    cotangent = mgx.Tensor(case["cotangents"][0], requires_grad="jvp" in case)
    (y * cotangent).sum().backward(create_graph="jvp" in case)
    grads = [x.grad for x in xs]
    for x, truth in zip(xs, wants):
        if truth is not None and x.requires_grad:
            np.testing.assert_allclose(zero_if_none(x), truth, **TOLERANCE[dtype])
    if "jvp" not in case:
        return
    for x in [*xs, cotangent]:
        x.grad = None
    sum((g * mgx.Tensor(w)).sum() for g, w in zip(grads, case["weights"]) if g is not None).backward()
    np.testing.assert_allclose(zero_if_none(cotangent), case["jvp"][0], **SECOND[dtype])
    for x, truth in zip(xs, case.get("grads2", [])):
        if truth is not None and x.requires_grad:
            np.testing.assert_allclose(zero_if_none(x), truth, **SECOND[dtype])


# ----- closed forms ------------------------------------------------------------------------------------------------

P, T = np.array([[0.9, 0.2, 0.4], [0.1, 0.7, 0.5]]), np.array([[1.0, 0.0, 0.25], [0.0, 1.0, 1.0]])


@pytest.mark.parametrize("cost, value, gradient", [
    (F.mse_loss, ((P - T) ** 2).mean(), 2 * (P - T) / 6),
    (F.quadratic_cost, ((P - T) ** 2).sum() / 4, (P - T) / 2),
    (F.binary_cross_entropy, -(T * np.log(P) + (1 - T) * np.log(1 - P)).mean(), (P - T) / (P * (1 - P)) / 6),
    (F.binary_cross_entropy_with_logits, (np.log1p(np.exp(P)) - T * P).mean(), (1 / (1 + np.exp(-P)) - T) / 6),
])
def test_costs_and_their_gradients(cost, value, gradient):
    p = leaf(P)
    result = cost(p, mgx.Tensor(T))
    result.backward()
    assert math.isclose(result.item(), value, rel_tol=1e-14)
    np.testing.assert_allclose(p.grad.numpy(), gradient, rtol=1e-13)
    assert cost(p, T).item() == result.item()
    with pytest.raises(ShapeError, match=r"\(2, 3\) != \(3,\)"):
        cost(p, mgx.Tensor(T[0]))


@pytest.mark.parametrize("cost", [F.mse_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits])
def test_reductions(cost):
    terms = cost(mgx.Tensor(P), T, reduction="none").numpy()
    assert terms.shape == P.shape
    assert math.isclose(cost(mgx.Tensor(P), T, reduction="sum").item(), terms.sum(), rel_tol=1e-14)
    with pytest.raises(OptionError, match="reduction"):
        cost(mgx.Tensor(P), T, reduction="average")


def test_cross_entropy():
    z, labels = leaf(P * 10), np.array([2, 0])
    shifted = np.exp(z.numpy())
    share = shifted / shifted.sum(axis=1, keepdims=True)
    terms = -np.log(share[[0, 1], labels])
    loss = F.cross_entropy(z, labels)
    loss.backward()
    assert math.isclose(loss.item(), terms.mean(), rel_tol=1e-13)
    np.testing.assert_allclose(z.grad.numpy(), (share - np.eye(3)[labels]) / 2, rtol=1e-12)
    np.testing.assert_allclose(F.cross_entropy(z, labels, reduction="none").numpy(), terms, rtol=1e-12)
    assert math.isclose(F.cross_entropy(z, labels, reduction="sum").item(), terms.sum(), rel_tol=1e-13)
    with pytest.raises(IndexError_, match="label 3"):
        F.cross_entropy(z, [0, 3], reduction="none")


def test_logits_far_out_stay_finite_and_keep_their_gradient():
    z = leaf([800.0, -800.0, 60.0, -60.0])
    loss = F.binary_cross_entropy_with_logits(z, mgx.Tensor(np.array([0.0, 1.0, 1.0, 0.0])), reduction="none")
    loss.sum().backward()
    np.testing.assert_allclose(loss.numpy(), [800, 800, math.exp(-60), math.exp(-60)], rtol=1e-14)
    np.testing.assert_allclose(z.grad.numpy(), [1, -1, -math.exp(-60), math.exp(-60)], rtol=1e-14)


def test_probabilities_at_the_ends():
    p = leaf([0.0, 1.0, 0.0])
    loss = F.binary_cross_entropy(p, np.array([0.0, 1.0, 1.0]), reduction="none")
    assert loss.tolist() == [0, 0, 100]                         # torch's bound of a logarithm


def test_loss_modules():
    p = mgx.Tensor(P)
    assert nn.MSELoss()(p, T).item() == F.mse_loss(p, T).item()
    assert nn.BCELoss(reduction="sum")(p, T).item() == F.binary_cross_entropy(p, T, reduction="sum").item()
    assert nn.BCEWithLogitsLoss()(p, T).item() == F.binary_cross_entropy_with_logits(p, T).item()
    assert nn.CrossEntropyLoss()(p, [0, 1]).item() == F.cross_entropy(p, [0, 1]).item()
    assert nn.QuadraticCost()(p, T).item() == F.quadratic_cost(p, T).item()
    with pytest.raises(OptionError):
        nn.MSELoss("average")




# ----- where torch says nothing, or nan ------------------------------------------------------------------------------

def test_classes_of_probability_0_do_not_count():
    logp = leaf([[0.0, -math.inf], [math.log(0.5)] * 2])
    share = mgx.Tensor([[1.0, 0.0], [0.5, 0.5]], dtype="float64")
    F.kl_div(logp, share, "sum").backward()
    assert F.kl_div(logp, share, "sum").item() == 0 and logp.grad.tolist() == [[-1, 0], [-0.5, -0.5]]
    assert F.cross_entropy(logp, share, reduction="none").tolist() == [0, math.log(2)]
    assert F.nll_loss(logp, [1, 0], weight=mgx.Tensor([1.0, 0.0])).item() == math.log(2)


def test_an_ignored_row_counts_nothing_whatever_it_holds():
    z = leaf([[math.inf, 0.0], [0.0, 0.0], [math.nan, 1.0]])
    loss = F.nll_loss(z, [-100, 1, -100])
    loss.backward()
    assert loss.item() == 0 and z.grad.tolist() == [[0, 0], [0, -1], [0, 0]]
    assert math.isnan(F.cross_entropy(leaf(np.ones((2, 3))), [-100, -100]).item())
    assert F.cross_entropy(leaf(np.ones((2, 3))), [-100, -100], reduction="sum").item() == 0
    fused, general = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([[1.0, 2.0]])
    F.cross_entropy(fused, [-100, 0]).backward()
    F.cross_entropy(mgx.Tensor([[3.0, 4.0]], dtype="float64"), [0])
    assert fused.grad.tolist()[0] == [0, 0] and general.grad is None


def test_kinks():
    """A residual of 0 has slope 0, and the second derivative of a parabola's foot is not lost."""
    p = leaf([0.0, 1.0, -1.0])
    F.huber_loss(p, np.zeros(3), "sum").backward(create_graph=True)
    g, p.grad = p.grad, None
    g.sum().backward()
    assert g.tolist() == [0, 1, -1] and p.grad.tolist()[0] == 1
    p = leaf([0.0])
    F.l1_loss(p, [0.0]).backward()
    assert p.grad.item() == 0


def test_a_tiny_variance_can_grow_again():
    var = leaf([[1e-9, -1.0]])
    loss = F.gaussian_nll_loss(mgx.Tensor([[1.0, 0.0]]), [[0.0, 0.0]], var, reduction="none", eps=0.5)
    loss.sum().backward()
    np.testing.assert_allclose(loss.tolist(), [[1 + math.log(0.5) / 2, math.log(0.5) / 2]])
    np.testing.assert_allclose(var.grad.numpy(), [[-1.0, 1.0]])


@pytest.mark.parametrize("name", costs.__all__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_rows_and_strided_rows(name, dtype):
    """Over nothing a sum is 0 and a mean nan; a view gives what its copy gives."""
    function = getattr(F, name)
    labelled = name in ("cross_entropy", "nll_loss", "multi_margin_loss")
    rng = np.random.default_rng(0)
    wide = [rng.uniform(0.1, 0.9, (3, 8)).astype(dtype) for _ in range(3)]
    extra = 1 if name == "gaussian_nll_loss" else 0
    others = lambda xs: [np.array([0, 1, 3])[:len(xs[0])]] if labelled else xs[1:2 + extra]
    views, copies = [mgx.Tensor(x)[:, ::2] for x in wide], [mgx.Tensor(x[:, ::2].copy()) for x in wide]
    assert function(views[0], *others(views)).item() == function(copies[0], *others(copies)).item()
    nothing = [mgx.Tensor(x[:0]) for x in wide]
    assert function(nothing[0], *others(nothing), reduction="sum").item() == 0
    mean = function(nothing[0], *others(nothing))
    assert math.isnan(mean.item()) and mean.dtype == dtype


# ----- modules and bad input -----------------------------------------------------------------------------------------

def test_modules_keep_options_and_tensors_are_their_state():
    loss = nn.BCEWithLogitsLoss(pos_weight=[2.0, 3.0])
    assert list(loss.state_dict()) == ["pos_weight"] and not list(loss.parameters())
    twin = pickle.loads(pickle.dumps(loss))
    x, t = mgx.Tensor([[1.0, -1.0]]), [[1.0, 0.0]]
    by_function = F.binary_cross_entropy_with_logits(x, t, pos_weight=[2.0, 3.0])
    assert twin(x, t).item() == loss(x, t).item() == by_function.item()
    assert repr(nn.HuberLoss(delta=2.0)) == "HuberLoss(delta=2.0)"
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
    assert repr(nn.KLDivLoss("batchmean")) == "KLDivLoss(reduction='batchmean')"


ones = lambda *shape: mgx.Tensor(np.ones(shape))


@pytest.mark.parametrize("call, error, words", [
    (lambda: F.huber_loss(ones(2), ones(2), delta=0.0), OptionError, "delta=0.0"),
    (lambda: F.huber_loss(ones(2), ones(2), delta=math.nan), OptionError, "delta=nan"),
    (lambda: F.smooth_l1_loss(ones(2), ones(2), beta=-1.0), OptionError, "beta=-1.0"),
    (lambda: F.gaussian_nll_loss(ones(2), ones(2), ones(2), eps=0), OptionError, "eps=0"),
    (lambda: F.gaussian_nll_loss(ones(2, 3), ones(2, 3), ones(3)), ShapeError, r"variance \(3,\)"),
    (lambda: F.cross_entropy(ones(2, 3), [0, 1], label_smoothing=1.5), OptionError, "label_smoothing=1.5"),
    (lambda: F.cross_entropy(ones(2, 3), [0, 1], weight=ones(2)), ShapeError, r"\(2,\) for 3 classes"),
    (lambda: F.cross_entropy(ones(2, 3, 4), ones(2, 3)), DTypeError, "labels are int64"),
    (lambda: F.cross_entropy(ones(2, 3, 4), [0, 1]), ShapeError, r"\(2, 4\) != \(2,\)"),
    (lambda: F.cross_entropy(ones(2, 3), [0, 3], weight=ones(3)), IndexError_, "label 3 of row 1"),
    (lambda: F.cross_entropy(ones(2, 3), [-1, -100]), IndexError_, "label -1 of row 0"),
    (lambda: F.nll_loss(ones(2, 3), [0, 3]), IndexError_, "nll_loss: label 3 of row 1"),
    (lambda: F.nll_loss(ones(2, 3), [0.5, 1.0]), DTypeError, "labels are int64, not float64"),
    (lambda: F.nll_loss(ones(3), [0, 1, 2]), ShapeError, r"one row has one label \(\), not labels of shape \(3,\)"),
    (lambda: F.cross_entropy(ones(2, 3), [0, 1], "sum"), OptionError, "reduction='sum' is given by name"),
    (lambda: nn.BCELoss("sum"), OptionError, "reduction='sum' is given by name"),
    (lambda: F.multi_margin_loss(ones(2, 3), [0, 1], p=3), OptionError, "p=3"),
    (lambda: F.binary_cross_entropy(ones(3), ones(3), weight=ones(2, 3)), ShapeError, r"\(3,\) != \(2, 3\)"),
    (lambda: F.mse_loss(ones(2), ones(2), "batchmean"), OptionError, "'batchmean'"),
    (lambda: F.kl_div(ones(2), ones(2), "average"), OptionError, "'batchmean', 'mean'"),
    (lambda: nn.MSELoss("average"), OptionError, "MSELoss: reduction"),
    (lambda: nn.MSELoss(delta=1.0), ArgumentError, "MSELoss: no argument is called 'delta'"),
    (lambda: nn.L1Loss("batchmean"), OptionError, "'batchmean'"),
])
def test_costs_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", costs.__all__)
def test_shapes_that_would_broadcast_are_refused(name):
    target = np.zeros((4, 1), int) if name in ("cross_entropy", "nll_loss", "multi_margin_loss") else ones(4, 1)
    more = [ones(4, 2)] if name == "gaussian_nll_loss" else []
    with pytest.raises(ShapeError, match=r"\(4, 1\)"):
        getattr(F, name)(ones(4, 2), target, *more)
    assert "reduction" in inspect.signature(getattr(F, name)).parameters


@pytest.mark.parametrize("cost, want", [      # numbers that are just as far apart as the margin asks
    (lambda x: F.margin_ranking_loss(x, mgx.Tensor([1.0]), [1.0]), -1),
    (lambda x: F.margin_ranking_loss(x, mgx.Tensor([0.5]), [1.0], margin=0.5), -1),
    (lambda x: F.hinge_embedding_loss(x, [-1.0]), -1),
    (lambda x: F.cosine_embedding_loss(mgx.stack([x, x * 0], -1), mgx.Tensor([[0.0, 1.0]]), [-1.0]), 0),
    (lambda x: F.cosine_embedding_loss(mgx.stack([x * 0 + 1, x - 1], -1), mgx.Tensor([[0.0, 1.0]]), [-1.0]), 1),
    (lambda x: F.triplet_margin_with_distance_loss(x, mgx.Tensor([2.0]), mgx.Tensor([3.0]),
                                                   distance_function=lambda a, b: (a - b).abs()), 0),
    (lambda x: F.triplet_margin_with_distance_loss(x, mgx.Tensor([0.5]), mgx.Tensor([2.5]),
                                                   distance_function=lambda a, b: (a - b).abs()), 2)])
def test_the_gradient_of_a_margin_that_is_just_reached_is_torch_s(cost, want):
    x = mgx.Tensor([1.0], requires_grad=True)
    y = cost(x)
    assert abs(y.item()) < 1e-6
    y.sum().backward()
    assert abs(x.grad.item() - want) < 1e-5
