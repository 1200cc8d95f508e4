"""Each row of docs/differences.md: what is here, and what the likely slip gives."""
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, data, nn, optim
from microgradx.errors import DTypeError, GraphError, OptionError, ShapeError
from microgradx.names import ABSENT, ALIASES, KEYWORDS
from microgradx.nn import functional as F

PAGE = Path(__file__).parents[1] / "docs" / "differences.md"
ROWS = []


def row(begins):
    """The test of the row of the page whose first column begins like that."""
    def add(test):
        ROWS.append(begins)
        return test
    return add


def leaf(data):
    return Tensor(data, requires_grad=True)


MARK = "<!-- from microgradx.names: tests/test_differences.py compares -->\n"


def tables():
    """What the page says of the table of names."""
    rows = [f"| `{theirs}` | {', '.join(f'`{ours}`' for ours in here)} |" for theirs, here in sorted(KEYWORDS.items())]
    text = "| keyword | is called here |\n|---|---|\n" + "\n".join(rows)
    rows = [f"| `{theirs}` | `{ours}` |" for theirs, ours in sorted(ALIASES.items())]
    text += "\n\n| function or method | is |\n|---|---|\n" + "\n".join(rows)
    sentences = {}
    for name, sentence in ABSENT.items():
        sentences.setdefault(sentence, []).append(name)
    rows = [f"| {', '.join(f'`{name}`' for name in names)} | {sentence} |" for sentence, names in sentences.items()]
    return text + "\n\n| what cannot be here | why, and what to type |\n|---|---|\n" + "\n".join(rows) + "\n"


def test_the_names_are_those_of_the_table():
    head, _, names = PAGE.read_text().partition(MARK)
    assert names == tables(), "python -c 'import test_differences as t; t.renew()' in tests renews them"


def renew():
    """Write the tables of names into the page."""
    head, _, _ = PAGE.read_text().partition(MARK)
    PAGE.write_text(head + MARK + tables())


def test_every_row_has_a_test():
    page = PAGE.read_text().partition("## Other names")[0]
    lines = [line[2:] for line in page.splitlines() if line.startswith("| ")][1:]
    assert [sum(line.startswith(begins) for begins in ROWS) for line in lines] == [1] * len(lines)
    assert len(ROWS) == len(lines)


@row("`var`, `std`")
def test_variance():
    x = Tensor([1.0, 3.0])
    assert x.var(ddof=0).item() == 1 and x.std(ddof=1).item() == pytest.approx(2 ** 0.5)
    assert x.var(correction=1).item() == x.var(unbiased=True).item() == x.var(dim=0, ddof=1).item() == 2
    with pytest.raises(OptionError, match="names of one argument"):
        x.var(ddof=1, correction=1)
    program = """if True:
        import warnings, microgradx as mgx
        x = mgx.Tensor([1.0, 3.0])
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            x.var(correction=1), x.std(0, 0), mgx.var(x, unbiased=False)
            assert not seen
            assert x.var().item() == 1
            assert len(seen) == 1 and seen[0].category is mgx.errors.DifferenceWarning, seen
            assert "correction=1" in str(seen[0].message)
            x.std(dim=0), x.var()
            assert len(seen) == 1
        """
    subprocess.run([sys.executable, "-c", program], check=True)


@row("`Tensor(5)`")
def test_shape_for_data():
    assert Tensor(5).item() == 5 and Tensor(2, 3).tolist() == mgx.empty(2, 3).tolist() == [[0] * 3] * 2
    with pytest.raises(OptionError, match="3.5"):
        Tensor(2, 3.5)


@row("`int32`")
def test_width_of_integers():
    assert mgx.int32 == mgx.uint8 == mgx.int64 and Tensor([1.5]).int().dtype == np.int64


@row("`arange(1, 5, -1)`")
def test_empty_arange():
    assert mgx.arange(1, 5, -1).shape == (0,)


@row("`repr(t)`, `t.dtype`")
def test_printed():
    t = mgx.tensor([1.0])
    assert repr(t) == "Tensor([1.])" and str(t) == "tensor([1.])" and str(t.dtype) == "float32" and t.shape == (1,)
    assert t.type() == "float32" and str([t]) == "[Tensor([1.])]"


@row("`print(t)` of a result")
def test_name_of_the_operation():
    logits = mgx.zeros(1, 2, requires_grad=True)
    loss = F.cross_entropy(logits, mgx.tensor([0]))
    assert str(loss) == "tensor(0.6931, grad_fn=<CrossEntropyBackward0>)" and logits.grad_fn is None
    assert loss.grad_fn.name() == "CrossEntropyBackward0"
    assert [node.name() for node, _ in loss.grad_fn.next_functions] == ["AccumulateGrad"]


@row("`print(net.weight)`")
def test_a_parameter_is_printed_as_a_tensor():
    assert str(nn.Parameter(mgx.ones(1))) == "tensor([1.], requires_grad=True)"


@row("`arange`, `linspace`, `logspace`")
def test_integers_between_fractions():
    assert mgx.linspace(1.5, -1.5, 4, dtype="int64").tolist() == np.linspace(1.5, -1.5, 4, dtype=int).tolist()
    assert mgx.arange(0.0, 3.1, dtype="int64").tolist() == np.arange(0.0, 3.1, dtype=int).tolist() == [0, 1, 2, 3]
    assert mgx.arange(2.1, -2.9, -1.0, dtype="int64").tolist() == [2, 1, 0, 0, -1]
    assert mgx.logspace(1.5, 0, 2, dtype="int64").tolist() == np.logspace(1.5, 0, 2, dtype=int).tolist() == [31, 1]


@row("`linalg.solve(a, b)`, `lstsq`")
def test_solve_of_several_systems():
    a, b = Tensor(np.tile(2 * np.eye(2), (2, 1, 1))), Tensor(np.ones((2, 2)))
    assert mgx.linalg.solve(a, b).shape == mgx.linalg.lstsq(a, b).solution.shape == (2, 2, 2)
    assert mgx.linalg.solve(Tensor(np.tile(np.eye(3), (2, 1, 1))), mgx.ones(2, 3, dtype="float64")).shape == (2, 3)


@row("`x + t`, `result_type(x, t)`")
def test_a_tensor_without_axes_widens():
    x, t = mgx.ones(2), mgx.tensor(1.0, dtype="float64")
    assert (x + t).dtype == mgx.result_type(x, t) == np.float64
    assert (x + t.item()).dtype == mgx.result_type(x, t.item()) == np.float32


@row("`F.hardtanh`")
def test_hardtanh_of_integers():
    x = Tensor(np.array([3, -2]))
    assert F.hardtanh(x).dtype == np.float32 and x.clip(-1, 1).dtype == np.int64


@row("`x.repeat(2, 1)`")
def test_repeat():
    x = Tensor([1.0, 2.0])
    assert x.repeat(2).tolist() == [1, 1, 2, 2] and x.tile(2).tolist() == [1, 2, 1, 2]
    with pytest.raises(OptionError, match=r"x.tile\(2, 1\)"):
        x.repeat(2, 1)


@row("`x.where(mask, other)`")
def test_where_of_a_method():
    x = Tensor([1.0, -1.0])
    assert (x > 0).where(x, 0.0).tolist() == [1, 0]
    with pytest.raises(DTypeError, match=r"mgx\.where\(mask, x, other\)"):
        x.where(x > 0, 0.0)


@row("`mgx.where(condition, a, b)`")
def test_where_of_numbers():
    assert mgx.where(Tensor([2.0, 0.0]), 1.0, 3.0).tolist() == [1, 3]


@row("`np.asarray(t)`")
def test_arrays():
    t = leaf([1.0])
    for call in (lambda: np.asarray(t), lambda: np.array([t, t]), lambda: np.r_[t]):
        with pytest.raises(GraphError, match=r"detach\(\)"):
            call()
    with pytest.raises(BufferError, match=r"detach\(\)"):
        memoryview(t)


def within_a_transform(read):
    with pytest.raises(GraphError, match="differentiat"):
        mgx.grad(lambda x: (read(x * 2), x * x)[1])(3.0)


@row("`t.numpy()`")
def test_explicit_numbers():
    assert leaf([1.0]).numpy().tolist() == leaf([1.0]).tolist() == [1]
    within_a_transform(lambda x: x.numpy())


@row("`float(t)`")
def test_numbers():
    t = leaf(0.0)
    assert float(t) == int(t) == t.item() == math.sin(t) == 0
    into = np.ones(2)
    into[0] = t
    assert into.tolist() == [0, 1]
    assert np.sin(t).requires_grad and t.sin().requires_grad
    within_a_transform(float)
    within_a_transform(math.sin)


@row("`bool(t)`")
def test_what_decides_or_shows():
    def f(x):
        assert f"{x:.1f}" == "3.0" and str(x)
        return x * x if x > 0 else x
    assert mgx.grad(f)(3.0).item() == 6
    with pytest.raises(ShapeError):
        f"{mgx.ones(2):.1f}"


@row("`Tensor(t)`")
def test_a_tensor_of_a_tensor():
    assert not Tensor(leaf([1.0])).requires_grad
    within_a_transform(Tensor)


@row("plain parameters")
def test_plain_parameters():
    t, x = leaf(2.0), mgx.ones(2)
    for call in (lambda: x.norm(t), lambda: x.fill_(t), lambda: mgx.full(2, t), lambda: mgx.pad(x, 1, t)):
        with pytest.raises(GraphError):
            call()


@row("a list or a number as data")
def test_dtypes_of_data():
    assert Tensor([1.0]).dtype == "float32" and Tensor(np.ones(1)).dtype == "float64"
    with pytest.raises(DTypeError):
        mgx.ones(2, 2) @ Tensor(np.ones((2, 2)))


@row("`mean`, `var`, `std`, `norm` of integers")
def test_means_of_integers():
    x = mgx.tensor([2**24 + 1, 2**24 + 3])
    assert x.mean().dtype == x.var().dtype == x.std().dtype == x.norm().dtype == "float32"
    assert x.mean().item() == 2**24 + 2 and x.var().item() == 1


@row("`x.max(axis)`")
def test_pairs():
    x = Tensor([[1.0, 2.0]])
    assert x.max(1)[1].tolist() == [1] and x.amax(1).tolist() == [2]
    for pair in (x.max(1), x.min(1), x.median(1), x.sort(1)):
        with pytest.raises(TypeError):
            pair * 2.0


@row("`x.cumsum()`")
def test_flattened():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.cumsum().tolist() == [1, 3, 6, 10] and x.cumprod().tolist() == [1, 2, 6, 24]


@row("`x.transpose()`")
def test_transpose():
    assert mgx.ones(2, 3, 4).transpose().shape == (4, 3, 2)


@row("`scaled_dot_product_attention")
def test_masks():
    q = Tensor(np.arange(6.0).reshape(1, 2, 3))
    first = mgx.tensor([[True, False], [True, False]])
    assert F.scaled_dot_product_attention(q, q, q, attn_mask=first).tolist() == [[[0, 1, 2], [0, 1, 2]]]
    with pytest.raises(DTypeError):
        F.scaled_dot_product_attention(q, q, q, attn_mask=mgx.tensor([[1, 0], [1, 0]]))
    net = nn.MultiheadAttention(3, 1, batch_first=True)
    assert not np.allclose(net(mgx.ones(1, 2, 3), mgx.ones(1, 2, 3), q.astype("float32"), attn_mask=first)[0].numpy(),
                           net(mgx.ones(1, 2, 3), mgx.ones(1, 2, 3), q.astype("float32"), attn_mask=~first)[0].numpy())


@row("`t.split(sizes)`")
def test_split():
    t = leaf([1.0, 2.0, 3.0])
    assert [part.tolist() for part in t.split((1, 2))] == [[1], [2, 3]]
    assert [part.tolist() for part in t.split(2)] == [[1, 2], [3]]
    assert [part.tolist() for part in np.split(t, 3)] == [[1], [2], [3]]
    with pytest.raises(ShapeError):
        np.split(t, 2)


@row("`median` of an even number")
def test_median():
    x = Tensor([1.0, 2.0])
    assert x.median().item() == 1 and np.median(x) == 1.5


@row("gradients of `max`")
def test_ties():
    for call, wanted in ((lambda x: x.amax(), [0.5, 0.5]), (lambda x: x.max(0)[0], [1, 0]),
                         (lambda x: x[:1].maximum(x[1:]).sum(), [0.5, 0.5])):
        x = leaf([1.0, 1.0])
        call(x).backward()
        assert x.grad.tolist() == wanted


def test_the_page_has_three_columns_and_the_slip():
    page = PAGE.read_text().partition("## Other names")[0]
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert all(len(re.split(r"(?<!\\)\|", line)) == 6 for line in lines)


@row("`nn.Softmax()`")
def test_softmax_without_an_axis():
    x = mgx.randn(2, 3, 4)
    assert nn.Softmax()(x).tolist() == F.softmax(x).tolist() == F.softmax(x, dim=-1).tolist()


@row("`F.mse_loss(p, t)`")
def test_costs_do_not_broadcast():
    with pytest.raises(ShapeError, match=r"\(3,\) and target \(3, 1\)"):
        F.mse_loss(mgx.ones(3), mgx.ones(3, 1))


@row("`nn.init.calculate_gain")
def test_gains():
    assert abs(nn.init.calculate_gain("tanh") - 1.5925) < 1e-4 and abs(nn.init.calculate_gain("selu") - 1) < 1e-12
    assert nn.init.TORCH_GAINS["tanh"] == 5 / 3 and nn.init.TORCH_GAINS["selu"] == 3 / 4


@row("`net.state_dict()`")
def test_state_is_a_copy():
    net = nn.Linear(2, 1)
    state = net.state_dict()
    nn.init.constant_(net.weight, 9.0)
    assert 9.0 not in state["weight"].tolist()[0]


@row("`net.load_state_dict(state)`")
def test_state_of_another_dtype():
    with pytest.raises(DTypeError, match="'weight' is float32, the state's float64"):
        nn.Linear(2, 1).load_state_dict(nn.Linear(2, 1).double().state_dict())


@row("`net.to(")
def test_to_makes_other_tensors():
    net = nn.Linear(2, 1)
    weight = net.weight
    assert net.to("float32").weight is weight and net.double().weight is not weight


@row("`isinstance(w, nn.Parameter)`")
def test_frozen_parameters():
    net = nn.Linear(2, 1).requires_grad_(False)
    assert not isinstance(net.weight, nn.Parameter) and [n for n, _ in net.named_parameters()] == ["weight", "bias"]


@row("`F.grid_sample` at a position that is nan")
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_positions_that_are_nan(mode, padding_mode):
    image = mgx.arange(9.0).reshape(1, 1, 3, 3)
    for aligned in (False, True):
        found = [F.grid_sample(image, Tensor([[[[at, 0.3], [0.3, at]]]]), mode, padding_mode, aligned).tolist()
                 for at in (math.nan, -1.0)]
        assert found[0] == found[1]


@row("attention of a row")
def test_closed_rows():
    net, x = nn.MultiheadAttention(2, 1, bias=False), mgx.ones(2, 1, 2)
    y, weights = net(x, x, x, attn_mask=np.array([[False, False], [True, True]]))
    assert y[1].tolist() == [[0, 0]] and weights[0, 1].tolist() == [0, 0]


@row("`MultiheadAttention(..., is_causal=True)`")
def test_causal_attention_needs_no_mask():
    net, x = nn.MultiheadAttention(2, 1), mgx.randn(3, 1, 2)
    assert (net(x, x, x, is_causal=True)[1].detach().numpy()[0][np.triu_indices(3, 1)] == 0).all()


@row("more than 32 axes")
def test_many_axes():
    assert Tensor(np.ones((1,) * 32)).sum().item() == 1
    with pytest.raises(ShapeError, match="at most 32 axes, not 33"):
        Tensor(np.ones((1,) * 33))


@row("`DataLoader(num_workers=n)`")
def test_workers_are_threads():
    import threading

    class Where(data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, k):
            return threading.current_thread() is threading.main_thread()
    assert not any(b.any() for b in data.DataLoader(Where(), num_workers=2))
    for options in (dict(num_workers=2, dataset=data.ChainDataset([])),
                    dict(multiprocessing_context="spawn", dataset=[1])):
        with pytest.raises(OptionError, match="DataLoader"):
            data.DataLoader(**options)


@row("the state of an optimizer")
def test_state_from_the_start():
    w = leaf([1.0])
    opt = optim.Adam([w])
    assert opt.state[w]["exp_avg"].tolist() == [0]
    with pytest.raises(OptionError, match="parameter 0 needs"):
        opt.load_state_dict(opt.state_dict() | {"state": {}})


@row("`SGD(lr=t)`")
def test_a_rate_that_is_a_tensor():
    w, lr = leaf([1.0]), Tensor(0.5)
    opt = optim.SGD([w], lr=lr)
    lr.fill_(0.1)
    w.square().sum().backward()
    opt.step()
    assert w.item() == 0 and opt.param_groups[0]["lr"] == 0.5
    opt.param_groups[0]["lr"] = lr
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1)


@row("`optimizer.step(closure)`")
def test_a_closure_without_a_loss():
    with pytest.raises(OptionError, match="returned nothing"):
        optim.SGD([leaf([1.0])]).step(lambda: None)


@row("`save(model, path)`")
def test_a_module_that_is_saved_whole(tmp_path):
    mgx.save(nn.Linear(2, 1), tmp_path / "net")
    with pytest.raises(AttributeError, match="load_state_dict"):
        mgx.load(tmp_path / "net").eval()


@row("`manual_seed(n)`")
def test_one_seed():
    mgx.manual_seed(0)
    assert mgx.rand(2).tolist() == mgx.rand(2, generator=mgx.Generator().manual_seed(0)).tolist()


@row("`scatter` to one place from several")
def test_gradient_of_scatter():
    x, source = leaf([0.0, 0.0]), leaf([1.0, 2.0])
    y = mgx.scatter(x, 0, [1, 1], source)
    y.sum().backward()
    assert y.tolist() == [0, 2] and source.grad.tolist() == [0, 1]


@row("`torch.unique(x)`")
def test_gradient_of_unique():
    x, w = leaf([3.0, 1.0, 3.0]), leaf([1.0, 10.0])
    (mgx.unique(x) * Tensor([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [10, 1, 0]
    mgx.bincount(mgx.tensor([1, 1]), w).sum().backward()
    assert w.grad.tolist() == [1, 1]


@row("`linalg.cholesky_solve`, `cholesky_inverse`")
def test_gradient_of_a_triangle():
    low = leaf([[2.0, 0.0], [1.0, 1.0]])
    mgx.cholesky_inverse(low).sum().backward()
    assert low.grad[0, 1].item() == 0 and low.grad[1, 0].item() != 0


@row("`linalg.svd`, `eigh` with equal")
def test_equal_singular_values():
    x = leaf([[1.0, 0.0], [0.0, 1.0]])
    (mgx.linalg.svd(x).U[0, 0] + mgx.linalg.norm(x * 0, "nuc")).backward()
    assert x.grad.tolist() == [[0, 0], [0, 0]]


@row("`linalg.eigh(a)`, `pinv")
def test_triangles_of_eigh():
    a = Tensor([[1.0, 4.0], [0.0, 1.0]])
    assert np.allclose(mgx.linalg.pinv(a, hermitian=True), np.linalg.inv([[1, 2], [2, 1]]))
    assert np.allclose(mgx.linalg.eigvalsh(a), [-1, 3]) and np.allclose(mgx.linalg.eigvalsh(a, "L"), [1, 1])
    assert np.allclose(mgx.linalg.eigvalsh(a, UPLO="U"), [-3, 5])


@row("`linalg.eig`, `eigvals`")
def test_no_complex_numbers():
    for name in ("eig", "eigvals"):
        with pytest.raises(AttributeError):
            getattr(mgx.linalg, name)


@row("`linalg.solve_triangular` with a 0")
def test_singular_triangle():
    with pytest.raises(mgx.linalg.LinAlgError, match="^solve"):
        mgx.linalg.solve_triangular(mgx.zeros(2, 2), mgx.ones(2, 1), upper=True)


@row("`x.sign()` at nan")
def test_signs_of_nan():
    assert math.isnan(Tensor([math.nan]).sign().item())


@row("`x[i] = 2.5`, `fill_`, `scatter_`")
def test_fractions_for_integers():
    x = mgx.tensor([1, 2])
    x[0] = 5.0
    assert x.tolist() == [5, 2] and x.dtype == "int64"
    for write in (lambda: x.__setitem__(0, 2.5), lambda: x.fill_(2.5), lambda: x.scatter_(0, [0], 2.5)):
        with pytest.raises(DTypeError, match="2.5 cannot be stored as int64"):
            write()


@row("`linalg.lstsq`: rank and singular values")
def test_results_of_least_squares():
    found = mgx.linalg.lstsq(mgx.ones(2, 3, 1), mgx.ones(2, 3, 1), driver="gels")
    assert found.rank.tolist() == [1, 1] and found.singular_values.shape == (2, 1)


@row("`linalg.lstsq`: the residuals")
def test_residuals_of_least_squares():
    assert mgx.linalg.lstsq(mgx.ones(2, 3, 1), mgx.ones(2, 3, 1)).residuals.tolist() == [[0], [0]]
    assert mgx.linalg.lstsq(mgx.ones(2, 3, 2), mgx.ones(2, 3, 1), driver="gelsd").residuals.shape == (0,)
    assert mgx.linalg.lstsq(mgx.ones(2, 3, 3), mgx.ones(2, 3, 1)).residuals.shape == (0,)


@row("`linalg.inv_ex`, `solve_ex`, `cholesky_ex`")
def test_what_is_not_solved():
    a = leaf([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    found = mgx.linalg.inv_ex(a)
    found.inverse.sum().backward()
    assert found.inverse[0].isnan().all() and found.info.tolist() == [2, 0]
    assert not a.grad[0].any() and a.grad[1].all()


@row("`cdist(compute_mode=)`")
def test_modes_of_cdist():
    x = Tensor([[1e4, 0.0], [1e4, 1e-3]])
    ways = [mgx.cdist(x, x, compute_mode=mode).tolist() for mode in (
        "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")]
    assert ways[0] == ways[1]


@row("`scatter_reduce(reduce=")
def test_products_of_a_scatter():
    assert mgx.scatter_reduce(mgx.ones(2), 0, [0, 0], Tensor([2.0, 3.0]), "prod").tolist() == [6, 1]


@row("`searchsorted(out_int32=True)`")
def test_places_are_int64():
    edges = Tensor([1.0, 2.0])
    assert mgx.searchsorted(edges, edges, out_int32=True).dtype == mgx.bucketize(edges, edges).dtype == np.int64


@row("`addmv`, `addbmm`, `baddbmm` of integers")
def test_fractions_of_integers():
    with pytest.raises(DTypeError, match="^addmv: of integers beta=0.5"):
        mgx.addmv(mgx.tensor([1]), mgx.tensor([[1]]), mgx.tensor([1]), beta=0.5)


@row("`igamma(a, x)`")
def test_gradient_of_the_first_argument():
    a = leaf([1.0])
    with pytest.raises(OptionError, match="^igamma: there is no derivative"):
        mgx.igamma(a, Tensor([1.0])).backward()


@row("`np.sort(t)`, `np.split(t, n)`")
def test_functions_of_numpy():
    assert np.sort(Tensor([2.0, 1.0])).tolist() == [1, 2]
    with pytest.raises(DTypeError, match="^np.sort: kind "):
        np.sort(leaf([2.0, 1.0]), kind="heapsort")


@row("array API")
def test_array_api():
    xp = mgx.ones(1).__array_namespace__()
    assert xp.bitwise_left_shift(mgx.tensor([1]), 2).tolist() == [4]
    for name in ("int8", "uint64", "complex64", "fft"):
        assert not hasattr(xp, name)
