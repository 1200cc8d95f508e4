"""Every row of csrc/kernels.def: its composite, its kernel against it, its pieces, and what detect_nan relies on."""
import re

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, errors, optim
from microgradx._core import kernels
from microgradx._core.launch import composites, run
from microgradx._core.sequences import cells

TABLE = {row["name"]: row for row in kernels.kernel_table()}

#        size   kernel stride dilation before count
IMAGE = (5, 6,  3, 2,  2, 1,  1, 2,    1, 0,  3, 4)
DENSE = (4, 4,  2, 2,  2, 2,  1, 1,    0, 0,  2, 2)

# axes of a few elements: of one, of rows, of columns, and of columns of an image; more results than are made at a time
SHORT = [dict(outer=outer, n=n, inner=inner) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9)
         for outer, inner in ((300, 1), (1, 300), (3, 40))]

# the steps of recurrent layers, by MGX_CELL_*
CELLS = {name: dict(cell=c.number, gates=c.gates, states=c.states, kept=c.kept) for name, c in cells.items()}

# for each row: integers and numbers by name, of one or more launches; shapes of operands that their extents do not tell
SAMPLES = {
    "copy": [dict(n=48)], "constant": [dict(n=0), dict(n=40)],
    "fill": [dict(n=0, width=1, word=1), dict(n=44, width=1, word=1), dict(n=40, width=8, word=-2**62 + 5)],
    "sum": [dict(outer=3, n=5, inner=4, divisor=2.0), dict(outer=1, n=2500, inner=1, divisor=1.0),
            dict(outer=2, n=70, inner=33, divisor=-1.0), dict(outer=2, n=70, inner=33, divisor=70.0),
            *[short | dict(divisor=divisor) for short in SHORT for divisor in (2.0, float(short["n"]))]],
    "squares": [short | dict(root=root, divisor=2.0)
                for short in [dict(outer=3, n=70, inner=5), *SHORT] for root in (0, 1)],
    "prod": [dict(outer=3, n=70, inner=5), dict(outer=2, n=70, inner=1), *SHORT],
    "amax": [dict(outer=3, n=5, inner=4, sign=1.0), dict(outer=2, n=7, inner=1, sign=-1.0),
             dict(outer=3, n=70, inner=300, sign=1.0), *[short | dict(sign=-1.0) for short in SHORT]],
    "any": [dict(outer=outer, n=n, inner=inner, all=all) for all in (0, 1)
            for outer, n, inner in ((9, 1, 1), (7, 3, 1), (1, 5000, 1), (5, 2, 300), (2, 1024, 1), (3, 7, 33))],
    "argmax": [dict(outer=3, n=5, inner=4, sign=1.0), dict(outer=2, n=2500, inner=1, sign=-1.0),
               dict(outer=2, n=1024, inner=1, sign=1.0), dict(outer=3, n=70, inner=300, sign=1.0),
               *[short | dict(sign=-1.0) for short in SHORT]],
    "cumsum": [short | dict(reverse=reverse) for reverse in (0, 1)
               for short in (dict(outer=3, n=70, inner=5), dict(outer=2, n=30, inner=300), *SHORT)],
    "sort": [dict(outer=outer, n=n, inner=inner, descending=descending) for descending in (0, 1)
             for outer, n, inner in ((3, 5, 2), (2, 32, 1), (2, 33, 3), (1, 3000, 1), (1, 1, 1))],
    "select": [*(dict(outer=outer, n=n, inner=inner, rank=rank, k=k, descending=descending) for descending in (0, 1)
                 for outer, n, inner, rank, k in ((3, 5, 2, 0, 2), (2, 33, 3, 30, 3), (1, 3000, 1, 0, 20),
                                                  (2, 700, 1, 0, 10), (2, 700, 2, 300, 1), (2, 90, 1, 20, 50))),
               *(dict(outer=2, n=n, inner=3, rank=rank, k=1, descending=0) for rank in (-1, -2) for n in (1, 8, 77))],
    "softmax": [dict(m=3, n=7), dict(m=70, n=1), dict(m=2, n=1030)],
    "log_softmax": [dict(m=3, n=7), dict(m=1, n=40)],
    "softmax_vjp": [dict(m=3, n=7), dict(m=1, n=65)], "log_softmax_vjp": [dict(m=3, n=7)],
    "cross_entropy": [dict(m=5, n=3, divisor=5.0), dict(m=67, n=10, divisor=1.0)],
    "cross_entropy_vjp": [dict(m=5, n=3, divisor=5.0)],
    **{row: [dict(m=m, k=k, c=c, repeat=repeat, centred=centred, eps=eps)
             for m, k, c, repeat, centred, eps in (
                 (3, 1, 33, 1, 1, 1e-5), (2, 1, 5, 1, 0, 1e-3), (130, 1, 5, 1, 1, 1e-5), (64, 1, 1, 1, 0, 1e-3),
                 (6, 3, 4, 9, 1, 1e-5), (70, 2, 3, 1, 1, 1e-5), (4, 4, 1, 2500, 1, 1e-3), (66, 2, 1, 17, 0, 1e-3))]
       for row in ("norm", "norm_vjp", "norm_weight_vjp")},
    "gemm": [dict(ta=ta, tb=tb, m=m, n=n, k=k, alpha=0.5, beta=beta, lda=m if ta else k, ldb=k if tb else n, ldc=n)
             for ta in (0, 1) for tb in (0, 1) for beta in (0.0, 1.0, 0.5) for m, n, k in ((3, 4, 5), (70, 1, 33))],
    **{row: [CELLS[cell] | dict(steps=len(counts), m=counts[0], h=h, rows=sum(counts), counts=counts, reverse=reverse)
             for cell in CELLS for reverse in (0, 1)
             for h, counts in ((5, (2, 2, 2)), (1, (1,)), (17, (70, 40, 33, 7)), (3, (0, 0)))]
       for row in ("recurrence", "recurrence_vjp")},
    **{row: [dict(batch=batch, t=t, s=s, n=n, p=p, masks=masks, high=high, each=each, causal=causal, scale=0.7)
             for causal in (0, 1) for batch, t, s, n, p, masks, high, each in (
                 (2, 3, 4, 5, 6, 1, 3, 1), (1, 1, 1, 1, 1, 1, 1, 1), (4, 70, 150, 17, 33, 2, 70, 2),
                 (6, 9, 5, 3, 2, 3, 1, 1), (1, 300, 260, 8, 16, 1, 300, 1), (2, 5, 0, 3, 4, 1, 5, 1))]
       for row in ("attention", "attention_vjp")},
    "solve_triangular": [dict(batch=batch, n=n, k=k, transposed=transposed, upper=upper, unit=unit)
                         for transposed in (0, 1) for upper in (0, 1) for unit in (0, 1)
                         for batch, n, k in ((2, 5, 3), (1, 70, 75), (1, 1, 1))],
    "cholesky": [dict(batch=3, n=4), dict(batch=1, n=101)],
    **dict.fromkeys(("solve", "solve_transposed"), [dict(batch=3, n=4, k=2), dict(batch=1, n=101, k=70)]),
    "columns": [dict(v=IMAGE, planes=3), dict(v=DENSE, planes=1)],
    "uncolumns": [dict(v=IMAGE, planes=3, spread=12), dict(v=DENSE, planes=2, spread=0)],
    "pool_sum": [dict(v=IMAGE, planes=3)], "pool_max": [dict(v=DENSE, planes=3), dict(v=IMAGE, planes=2)],
    "unpool": [dict(planes=2, plane=12, n=5)],
    **dict.fromkeys(("gather", "scatter_add"), [
        dict(outer=outer, n=n, m=m, inner=inner, shared=shared) for shared in (0, 1)
        for outer, n, m, inner in ((3, 4, 5, 6), (2, 7, 9, 1), (1, 1, 1, 1), (2, 3, 2**14, 2), (1, 2, 2**14, 1))]),
    "count_steps": [dict(n=3)],
    "uniform": [dict(n=5), dict(n=1000)], "normal": [dict(n=5), dict(n=1000)],
    "dropout": [dict(n=5, most=2**31, scale=2.0), dict(n=1000, most=2**32 - 1, scale=0.0),
                dict(n=700, most=9**9, scale=3.0)],
    "integers": [dict(n=5, low=-3, range=7), dict(n=1000, low=5, range=2**62), dict(n=200, low=-2**63, range=0)],
    "permutation": [dict(n=1), dict(n=300)], "advance": [dict(blocks=0), dict(blocks=2**40)]}
OPTIMIZERS = {name: cls for cls in vars(optim).values() if isinstance(cls, type) and getattr(cls, "kernel", "")
              for name in (cls.kernel, f"count_{cls.kernel}") if name in TABLE} | {"count_steps": optim.SGD}


def ordinary(row):
    """Sizes for a row that SAMPLES does not name: small numbers that differ, every flag on and off."""
    sizes = {name: size for (kind, name), size in zip(row["integers"], (3, 7, 5, 4, 2, 6)) if kind == "INTEGER"}
    flags = [name for kind, name in row["integers"] if kind == "FLAG"]
    return [sizes | dict.fromkeys(flags, on) | dict.fromkeys(row["numbers"], 0.5) for on in ((0, 1) if flags else (0,))]


SAMPLES |= {name: ordinary(row) for name, row in TABLE.items() if name not in SAMPLES}


def options(name):
    """What the cell of an optimizer's kernel holds, with nothing that is not needed left out."""
    assert name in OPTIMIZERS, (f"row {name!r} reads the options of an optimizer, but no class of optim has kernel = "
                                f"{name!r}: write it in optim/optimizers.py and name it in __all__")
    cls = OPTIMIZERS[name]
    special = SPECIAL.get(name.removeprefix("count_"), {})
    return cls.numbers(cls([Tensor([1.0], requires_grad=True)]).defaults | special)


SPECIAL = {"sgd": dict(momentum=0.9, dampening=0.2, weight_decay=0.01), "nadam": dict(weight_decay=0.1),
           "rmsprop": dict(momentum=0.5, centered=True, weight_decay=0.01), "adagrad": dict(lr_decay=0.01),
           "adam": dict(weight_decay=0.01, amsgrad=True, maximize=True), "radam": dict(betas=(0.9, 0.5)),
           "asgd": dict(t0=1.0, weight_decay=0.1), "rprop": dict(lr=0.1)}
CASES = [(name, k) for name, cases in SAMPLES.items() for k in range(len(cases))]


def lengths(elements, sample):
    """The shape that the text of an extent stands for: its factors."""
    v = sample.get("v", (0,) * 12)
    text = elements.replace("PLANE(v)", f"{v[0]}*{v[1]}").replace("TAPS(v)", f"{v[2]}*{v[3]}")
    text = text.replace("OUTPUTS(v)", f"{v[10]}*{v[11]}").replace("(m + 63)/64", "parts").replace("(n + 1)", "rows")
    text = text.replace("(shared ? m : outer*m*inner)", "m" if sample.get("shared") else "outer*m*inner")
    text = text.replace("(k == 1 && repeat == 1 ? parts : m)",
                        "parts" if sample.get("k") == sample.get("repeat") == 1 else "m")
    if "spread" in text:
        text = f"planes*{v[2]}*{v[3]}*{v[10]}*{v[11]}" if sample["spread"] else f"planes*{v[10]}*{v[11]}"
    known = {"rows": sample.get("n", 0) + 1} | sample | {"parts": (sample.get("m", 0) + 63) // 64}
    return tuple(int(part) if part.isdigit() else known[part] for part in text.split("*"))


def operand(kind, name, elements, sample, row, dtype, rng):
    shape = lengths(elements, sample)
    if row["name"] == "gemm":
        shape = {"a": ("k", "m") if sample["ta"] else ("m", "k"), "b": ("n", "k") if sample["tb"] else ("k", "n"),
                 "c": ("m", "n")}[name]
        shape = tuple(sample[d] for d in shape)
    if name in ("a", "t", "factors") and {"batch", "n"} <= sample.keys():
        unit = np.eye(sample["n"])              # far from singular; positive definite, or with rows to exchange
        a = rng.normal(size=(sample["batch"], *unit.shape)) / sample["n"] / 2
        a = a + np.swapaxes(a, 1, 2) if row["name"] == "cholesky" else a
        a = a + (unit if name == "t" or row["name"] == "cholesky" else unit[::-1])
        a = Tensor(a.astype(dtype))
        return composites["solve"](a, a)[1] if name == "factors" else a
    if row["name"] == "binary_cross_entropy":
        return Tensor(rng.uniform(size=shape).astype(dtype))
    if name == "cell":
        return Tensor(options(row["name"]))
    if name == "count":
        return Tensor(np.array(sample["counts"]))
    if name == "step":
        return Tensor(np.arange(4.0, 4 + np.prod(shape)).reshape(shape))
    if kind == "INT64" and name not in ("label", "at"):
        return Tensor(rng.integers(0, 3, shape))
    if name == "label" or name == "at" and row["name"] != "pool_max":
        most = {"unpool": "plane"}.get(row["name"], "n")
        low = -sample[most] if row["name"] in ("gather", "scatter_add") else 0
        return Tensor(rng.integers(low, sample[most], shape))
    if name == "sums":                          # above all scores
        return Tensor(np.stack([rng.uniform(9, 10, shape[1:]), rng.uniform(size=shape[1:])]).astype(dtype))
    if name == "stats":
        mean, variance = rng.normal(size=shape[1]), rng.uniform(0.5, 2, shape[1])
        return Tensor(np.stack([mean, variance, variance ** -0.5]).astype(dtype))
    numbers = rng.normal(size=shape).astype({"INT64": "i8", "FLOAT64": "f8", "MAYBE64": "f8"}.get(kind, dtype))
    if name in ("s", "v", "d", "u", "size") and row["name"] in OPTIMIZERS and row["name"] != "sgd" or name == "p":
        numbers = np.abs(numbers) + 99 * (row["name"] == "rmsprop")     # a mean square above the mean's square
    if name in ("u", "derivative"):
        numbers *= 0.1                          # so that nothing grows from step to step
    if kind == "MASK":                          # with rows and columns of one kind
        return Tensor(rng.random(shape) < rng.choice([0.0, 0.1, 0.9, 1.0], (1,) + shape[1:]))
    if kind == "RAW":
        numbers = rng.normal(size=sample["n"] // 4).astype("f4")
    return Tensor(numbers if shape != (1,) or kind != "REALS" else numbers[0])


def places(row, sample):
    """Integers and numbers in the places that the row gives them."""
    integers = []
    for kind, name in row["integers"]:
        if kind == "STRIDES":
            inner = sample["inner"] * sample["size"]
            integers += [sample["n"] * inner, inner, sample["size"]]
        else:
            integers += list(sample[name]) if kind == "WINDOWS" else [sample[name]]
    return integers, [sample[name] for name in row["numbers"]]


def prepared(name, k, dtype, absent=()):
    """(row, sample, operands that are read, updated, written)."""
    rng, row = np.random.default_rng([k, *name.encode()]), TABLE[name]
    sample = SAMPLES[name][k] | {"size": np.dtype(dtype).itemsize}
    parts = [[None if n in absent else operand(kind, n, elements, sample, row, dtype, rng)
              for kind, n, elements in row[part]] for part in ("reads", "updates", "writes")]
    return row, sample, *parts


def expected(row, sample, operands):
    """What the composite says, as float64 arrays."""
    wide = [o if o is None or o.dtype.kind != "f" or o.dtype == "f8" else o.double() for o in operands]
    if row["name"] in ("copy", "constant"):
        wide = operands
    found = composites[row["name"]](*wide, **sample)
    return [None if f is None else np.concatenate([np.asarray(part, "f8").ravel() for part in
                                                   (f if isinstance(f, list) else [f])])
            for f in (found if isinstance(found, tuple) else (found,))]


def launched(row, sample, reads, updates, writes):
    integers, numbers = places(row, sample)
    assert run(row["name"], *reads, *updates, *writes, integers=integers, numbers=numbers) is None
    return [None if o is None else np.asarray(o, "f8").ravel() for o in (*updates, *writes)]


def test_every_row_has_a_composite():
    for name in TABLE:
        assert name in composites, (f"row {name!r} of csrc/kernels.def has no composite: write the function that "
                                    f"computes it in operations beside its kernel's block, under @composite({name!r})")
    assert SAMPLES.keys() <= TABLE.keys() and composites.keys() <= TABLE.keys()


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_the_lists_of_a_row_are_whole(row):
    """Extents, splits and docs name only what the row has."""
    names = {name for _, name in row["integers"]} | set(row["numbers"])
    operands = [*row["reads"], *row["updates"], *row["writes"]]
    assert row["updates"] or row["writes"], "a kernel writes something"
    assert len({n for _, n, _ in operands}) == len(operands), "two operands of one name"
    for _, name, elements in operands:
        used = set(re.findall(r"\b[a-z]\w*\b", elements))
        assert used <= names, (f"the extent of {name}, {elements}, names {used - names}, which are no integers of the "
                               "row")
    if row["split"]:
        assert set(re.findall(r"\b[a-z]\w*\b", " ".join(row["split"]))) <= names
    assert len(row["doc"]) > 5 and len(operands) <= 16


@pytest.mark.short
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name, k", CASES)
def test_kernel_against_composite(name, k, dtype):
    row, sample, reads, updates, writes = prepared(name, k, dtype)
    wanted = expected(row, sample, reads + updates)
    got = launched(row, sample, reads, updates, writes)
    tolerance = 2e-5 if dtype == "f4" else 1e-12
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


OPTIONAL = [(name, n) for name, row in TABLE.items() for part in ("reads", "updates", "writes")
            for kind, n, _ in row[part] if kind in ("OPTIONAL", "MAYBE64")]


@pytest.mark.parametrize("name, absent", OPTIONAL)
def test_what_is_optional(name, absent):
    absent = {absent} | ({"step", "v"} if name == "sgd" else set())
    row, sample, reads, updates, writes = prepared(name, 0, "f8", absent)
    wanted = expected(row, sample, reads + updates)
    got = launched(row, sample, reads, updates, writes)
    for one, other, (_, written, _) in zip(got, wanted, row["updates"] + row["writes"], strict=True):
        assert (one is None) == (other is None or written in absent)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_what_must_be_there():
    for name, row in TABLE.items():
        _, sample, reads, updates, writes = prepared(name, 0, "f4")
        integers, numbers = places(row, sample)
        operands = [*row["reads"], *row["updates"], *row["writes"]]
        for k, (kind, _, _) in enumerate(operands):
            if kind not in ("OPTIONAL", "MAYBE64"):
                there = [*reads, *updates, *writes]
                there[k] = None
                with pytest.raises(errors.ShapeError, match=f"{name}: operand {k} is not optional"):
                    run(name, *there, integers=integers, numbers=numbers)
            if kind in ("REALS", "INT64", "FLOAT64"):
                there[k] = Tensor(np.zeros(1, bool))
                with pytest.raises(errors.DTypeError, match=".*: operand.*bool"):
                    run(name, *there, integers=integers, numbers=numbers)
        with pytest.raises(errors.ShapeError, match=f"{name}: {len(operands) + 1} operands"):
            run(name, *reads, *updates, *writes, None, integers=integers, numbers=numbers)
    with pytest.raises(errors.ShapeError, match="softmax: operand 1 of shape \\(5,\\) has not the 6 elements"):
        run("softmax", mgx.ones(2, 3), mgx.ones(5), integers=(2, 3))
    x = mgx.ones(2, 3)
    with pytest.raises(errors.ShapeError, match="softmax: operands 0 and 1 overlap"):
        run("softmax", x, x, integers=(2, 3))
    with pytest.raises(errors.OptionError, match="no kernel is called 'softmix'; there are copy"):
        run("softmix")


LARGE = {"sum": dict(outer=3, n=700, inner=645, divisor=1.0), "amax": dict(outer=300, n=70, inner=60, sign=1.0),
         "squares": dict(outer=2, n=999, inner=700, root=0, divisor=2.0), "prod": dict(outer=2, n=999, inner=700),
         "copy": dict(n=1 << 24), "constant": dict(n=1 << 24), "fill": dict(n=1 << 24, width=8, word=2**62 + 1),
         "any": dict(outer=30, n=1000, inner=645, all=0), "argmax": dict(outer=30, n=700, inner=60, sign=1.0),
         "cumsum": dict(outer=300, n=70, inner=60, reverse=0),
         "sort": dict(outer=30, n=700, inner=60, descending=1),
         "select": dict(outer=30, n=700, inner=60, rank=5, k=40, descending=1),
         "softmax": dict(m=3001, n=400), "log_softmax": dict(m=3001, n=400), "softmax_vjp": dict(m=3001, n=400),
         "log_softmax_vjp": dict(m=3001, n=400), "cross_entropy_vjp": dict(m=3001, n=400, divisor=10.0),
         **dict.fromkeys(("norm", "norm_vjp", "norm_weight_vjp"),
                         [dict(m=m, k=k, c=c, repeat=repeat, centred=1, eps=1e-5)
                          for m, k, c, repeat in ((3001, 1, 400, 1), (3003, 3, 4, 100))]),
         "columns": dict(v=IMAGE, planes=20001),
         "uncolumns": dict(v=IMAGE, planes=20001, spread=12), "pool_sum": dict(v=IMAGE, planes=20001),
         "pool_max": dict(v=DENSE, planes=80001), "unpool": dict(planes=90001, plane=12, n=5),
         **{name: dict(batch=1301, n=17, k=5, transposed=0, upper=1, unit=0)
            for name in ("solve_triangular", "cholesky", "solve", "solve_transposed")},
         "gather": dict(outer=2, n=3, m=700, inner=1000, shared=0),
         "uniform": dict(n=1200001), "normal": dict(n=1200001), "dropout": dict(n=1200001, most=9**9, scale=3.0),
         "integers": dict(n=1200001, low=-5, range=1000),
         **dict.fromkeys(("recurrence", "recurrence_vjp"), CELLS["lstm"] | dict(
             steps=9, m=100, h=70, rows=715, counts=(100, 100, 100, 80, 80, 80, 70, 65, 40), reverse=0)),
         **dict.fromkeys(("attention", "attention_vjp"), dict(
             batch=3, t=300, s=70, n=20, p=9, masks=3, high=1, each=1, causal=1, scale=0.5)),
         **{name: dict(n=1200001) for name in OPTIMIZERS}}


def enlarged(name):
    """An ordinary sample, the axis that is split long enough for pieces."""
    axis, work = TABLE[name]["split"]
    sample = dict(SAMPLES[name][0])
    assert axis in sample, f"row {name!r} splits {axis}: add sizes of more than 2^20 elements to LARGE"
    return sample | {axis: 1 + (1 << 20) * 5 // 4 // eval(work, dict(sample))}


def large(name):
    sizes = LARGE.get(name) or enlarged(name)
    return sizes if isinstance(sizes, list) else [sizes]


@pytest.mark.parametrize("name, sizes", [(name, sizes) for name, row in TABLE.items() if row["split"]
                                         for sizes in large(name)])
def test_pieces_do_not_change_bits(name, sizes, monkeypatch):
    """A row that says SPLIT gives the same bits in one thread, in three, and as a launch too small to be cut."""
    monkeypatch.setitem(SAMPLES, name, [sizes])
    results, before = [], mgx.get_num_threads()
    try:
        for threads in (1, 3):
            mgx.set_num_threads(threads)
            results.append(launched(*prepared(name, 0, "f4")))
    finally:
        mgx.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        assert one is other is None or one.tobytes() == other.tobytes()
    row, sample, reads, updates, writes = prepared(name, 0, "f4")
    wanted = expected(row, sample, reads + updates)
    for one, other in zip(results[0], wanted, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


def test_steps_are_steady():
    """Nothing interrupts an update, so that a step is made whole; all else can be interrupted."""
    assert {name for name, row in TABLE.items() if row["steady"]} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row["keeps_finite"]])
def test_what_keeps_finite_makes_no_nan(name):
    """detect_nan does not look at these if all that they read is finite, so their largest numbers make no nan."""
    for k in range(len(SAMPLES[name])):
        row, sample, reads, updates, writes = prepared(name, k, "f4")
        for sign in (1, -1):
            for kind, o in zip([kind for part in ("reads", "updates") for kind, *_ in row[part]], reads + updates):
                if kind in ("REALS", "STRIDED", "OPTIONAL"):
                    signs = np.where(np.arange(o.size).reshape(o.shape) % 3, sign, -sign).astype("f4")
                    o.copy_(signs * np.finfo("f4").max)
            assert not any(np.isnan(o).any() for o in launched(row, sample, reads, updates, writes))
