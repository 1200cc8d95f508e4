"""The structured cases: products, reductions, losses, shapes and indices."""

import json

import numpy as np
import torch
import torch.nn.functional as F

from recorder import away, function, method, normal, record, rng

INF, NAN = float("inf"), float("nan")


# ---------------------------------------------------------------- products

def product_cases():
    for text in ("3@3 3@3x2 2x3@3 2x3@3x4 1x1@1x1 2x0@0x3 0x3@3x2 5x1@1x5 2x2x3@2x3x4 2x2x3@3x4 2x3@4x3x2 "
                 "2x1x2x3@3x3x2 3@2x3x2 2x2x3@3 0x2x3@3x2").split():
        sa, sb = ([int(n) for n in side.split("x")] for side in text.split("@"))
        method("matmul", torch.matmul, normal(*sa), normal(*sb), note=text)
    for note, ta, tb, sa, sb in [("aT", 1, 0, (3, 2), (3, 4)), ("bT", 0, 1, (2, 3), (4, 3)),
                                 ("aT-bT", 1, 1, (3, 2), (4, 3)), ("batched-aT-bT", 1, 1, (2, 3, 2), (2, 4, 3))]:
        t = lambda x, yes: x.transpose(-1, -2) if yes else x
        expression = f"matmul({'a.transpose(-1, -2)' if ta else 'a'}, {'b.transpose(-1, -2)' if tb else 'b'})"
        record("matmul", "expression", lambda a, b: torch.matmul(t(a, ta), t(b, tb)), [normal(*sa), normal(*sb)],
               kwargs={"expression": expression}, note=note, f32=True)
    record("matmul", "expression", lambda a: torch.matmul(a, a), [normal(3, 3)],
           kwargs={"expression": "matmul(a, a)"}, note="itself")
    method("matmul", torch.matmul, np.array([[1.0, INF]]), np.array([[0.0], [0.0]]), note="inf-times-0", order=0,
           f32=False)
    for sx, bias in [((2, 3), True), ((2, 3), False), ((3,), True), ((2, 2, 3), True), ((0, 3), True),
                     ((2, 2, 3), False)]:
        function("linear", F.linear, normal(*sx), normal(4, 3), *([normal(4)] if bias else []),
                 note="bias" if bias else "no-bias")
    for sa, sb in [((3,), (2,)), ((1,), (4,)), ((0,), (2,))]:
        function("outer", torch.outer, normal(*sa), normal(*sb))
    size = dict(i=2, j=3, k=4, l=2, b=2, h=1, q=3, d=2, a=3)
    for equation in ["ij,jk->ik", "bij,bjk->bik", "ii->i", "ii", "ij->", "i,j->ij", "bhqd,bhkd->bhqk", "ij,jk",
                     "ij->ji", "ij,ij->i", "i,i", "ij,jk,kl->il", "ij,kj->ki", "ba", "ij,j->", "bij->bj"]:
        operands = [normal(*[size[s] for s in term]) for term in equation.split("->")[0].split(",")]
        function("einsum", lambda *xs: torch.einsum(equation, *xs), *operands, kwargs={"equation": equation})
    equation = "...ij,...jk->...ik"
    function("einsum", lambda *xs: torch.einsum(equation, *xs), normal(2, 1, 2, 3), normal(3, 3, 2),
             kwargs={"equation": equation})


# ---------------------------------------------------------------- reductions

AXES = [((2, 3), None, False), ((2, 3), 0, False), ((2, 3), -1, True), ((2, 3, 2), (0, 2), False),
        ((2, 3, 2), (-1, 1), True), ((2, 3), None, True), ((4,), 0, False), ((), None, False), ((1, 5), 1, False)]


def reductions(op, f, axes=AXES, x=None, extra=None, **kw):
    """f(x, axis, keepdims) for every shape; axis None means all."""
    for shape, axis, keepdims in axes:
        data = (x or (lambda s: normal(*s)))(shape)
        kwargs = {**(extra or {}), "axis": list(axis) if isinstance(axis, tuple) else axis, "keepdims": keepdims}
        method(op, lambda t: f(t, axis, keepdims), data, kwargs=kwargs, **kw)


def every(t, axis):
    return tuple(range(t.ndim)) if axis is None else axis


def full_reduction(f):
    """torch functions without axis=None, keepdims: reduce the flat array and shape the result."""
    def g(t, axis, keepdims):
        if axis is not None:
            return f(t, axis, keepdims)
        y = f(t.reshape(-1), 0, False)
        return y.reshape((1,) * t.ndim) if keepdims else y
    return g


def whole(f):
    return lambda t, axis, keepdims: f(t).reshape((1,) * t.ndim) if keepdims else f(t)


def reduction_cases():
    ints = [a for a in AXES if not isinstance(a[1], tuple)]
    dims = [a for a in ints if a[1] is not None]
    reductions("sum", lambda t, a, k: torch.sum(t, every(t, a), keepdim=k))
    reductions("mean", lambda t, a, k: torch.mean(t, every(t, a), keepdim=k))
    for shape, axis in [((0,), None), ((0, 3), 0), ((0, 3), 1), ((2, 0), 1)]:
        reductions("sum", lambda t, a, k: torch.sum(t, every(t, a), keepdim=k), [(shape, axis, False)], note="empty")
        reductions("prod", full_reduction(torch.prod), [(shape, axis, False)], note="empty")
    reductions("mean", lambda t, a, k: torch.mean(t, every(t, a), keepdim=k), [((0,), None, False)], note="empty",
               order=0)
    reductions("prod", full_reduction(torch.prod), ints)
    for note, x in [("one-zero", [[1.5, 0, -2], [3, 1, 2]]), ("two-zeros", [[0.0, 2, 0], [1, 0, 3]]),
                    ("all-zero", [[0.0, 0], [0, 0]])]:
        for axis in (None, 1):
            reductions("prod", full_reduction(torch.prod), [(None, axis, False)], x=lambda s: np.array(x), note=note)
    for op, f in [("var", torch.var), ("std", torch.std)]:
        for ddof in (0, 1):
            axes = [a for a in AXES if a[0] != ()] if ddof else AXES[:5]
            reductions(op, lambda t, a, k: f(t, every(t, a), correction=ddof, keepdim=k), axes, extra={"ddof": ddof})
    reductions("var", lambda t, a, k: torch.var(t, correction=1), [((1,), None, False)], extra={"ddof": 1},
               note="one-element", order=0)
    reductions("std", lambda t, a, k: torch.std(t, correction=0), [(None, None, False)], x=lambda s: np.full(3, 2.0),
               extra={"ddof": 0}, note="constant", order=0)
    shuffled = lambda s: rng.permutation(int(np.prod(s))).reshape(s) * 0.7 - 1.1
    tied = lambda s: np.array([[1.0, 3, 3], [2, 2, 2]])
    for op, all_of, amax in [("max", torch.max, torch.amax), ("min", torch.min, torch.amin)]:
        reductions(op, whole(all_of), [a for a in ints if a[1] is None], x=shuffled)
        reductions(op, whole(all_of), [(None, None, False)], x=tied, note="ties", order=1)
        reductions(op, all_of, dims, x=shuffled, note="values-indices")
        reductions(op, all_of, [(None, 1, False), (None, 0, False)], x=tied, note="ties-values-indices", order=1)
        reductions("a" + op, lambda t, a, k: amax(t, every(t, a), keepdim=k), x=shuffled)
        reductions("a" + op, lambda t, a, k: amax(t, every(t, a), keepdim=k), [(None, 1, False), (None, None, False)],
                   x=tied, note="ties", order=1)
        reductions("a" + op, lambda t, a, k: amax(t, every(t, a), keepdim=k), [(None, 1, False)],
                   x=lambda s: np.array([[NAN, 1.0], [INF, -INF]]), note="nan-inf", order=0)
        pick = getattr(torch, "arg" + op)
        reductions("arg" + op, full_reduction(pick), ints, x=shuffled, order=0)
        reductions("arg" + op, full_reduction(pick), [(None, 1, False), (None, 0, True), (None, None, False)], x=tied,
                   note="ties", order=0)
        reductions("arg" + op, full_reduction(pick), [(None, 1, False)], x=lambda s: np.array([[1.0, NAN, 3, NAN]]),
                   note="nan", order=0)
    reductions("logsumexp", lambda t, a, k: torch.logsumexp(t, every(t, a), keepdim=k))
    reductions("logsumexp", lambda t, a, k: torch.logsumexp(t, a, keepdim=k), [(None, 1, False)],
               x=lambda s: np.array([[100.0, 100.0], [-100.0, -101.0]]), note="large")
    reductions("logsumexp", lambda t, a, k: torch.logsumexp(t, a, keepdim=k), [(None, 1, False)],
               x=lambda s: np.array([[-INF, -INF], [INF, 1.0], [-INF, 1.0], [NAN, 1.0]]), note="nan-inf", order=0)
    for op, f in [("softmax", torch.softmax), ("log_softmax", torch.log_softmax), ("cumsum", torch.cumsum)]:
        for shape, axis in [((2, 3), -1), ((2, 3), 0), ((5,), 0), ((2, 2, 3), 1), ((0, 3), 1), ((1,), 0)]:
            method(op, lambda t: f(t, axis), normal(*shape), kwargs={"axis": axis})
        if op != "cumsum":
            method(op, lambda t: f(t, -1), np.array([[1000.0, 999, 0], [-1000, -1000, -1001]]), kwargs={"axis": -1},
                   note="large")
            method(op, lambda t: f(t, -1), np.array([[-INF, 0, 1], [NAN, 0, 1]]), kwargs={"axis": -1}, note="nan-inf",
                   order=0)
    vector = lambda ord: lambda t, a, k: torch.linalg.vector_norm(t, ord, every(t, a), k)
    reductions("norm", vector(2), AXES)
    for ord in (1, INF, 3, -INF):
        reductions("norm", vector(ord), [((2, 3), 1, False), ((4,), None, False)], x=lambda s: away(s, -2, 2, (0,)),
                   extra={"ord": {INF: "inf", -INF: "-inf"}.get(ord, ord)}, note="ord")
    reductions("norm", vector(2), [(None, 1, False)], x=lambda s: np.array([[0.0, 0], [3, 4]]), note="zero-row",
               order=1)


def loss_cases():
    function("cross_entropy", F.cross_entropy, normal(4, 3), np.array([0, 2, 1, 2]))
    function("cross_entropy", F.cross_entropy, normal(1, 5), np.array([3]))
    function("cross_entropy", F.cross_entropy, normal(5, 2), np.array([0, 0, 1, 1, 0]))
    function("cross_entropy", F.cross_entropy, normal(3, 1), np.array([0, 0, 0]), note="one-class")
    function("cross_entropy", F.cross_entropy, np.array([[1000.0, 0, -1000], [0, 800, 0]]), np.array([0, 0]),
             note="large", order=1)
    function("cross_entropy", F.cross_entropy, np.array([[NAN, 0, 1], [0, 1, 2]]), np.array([0, 1]), note="nan",
             order=0)


# ---------------------------------------------------------------- shapes and indices

def listed(index):
    """The small notation for an index: a list with one item per position.

    3                         an integer
    {"slice": [a, b, step]}   a:b:step, null where left out
    "..."  and  "newaxis"     Ellipsis and None
    {"ints": [[0, 2]]}        an integer array
    {"bools": [true, false]}  a boolean mask
    """
    items = []
    for i in index if isinstance(index, tuple) else (index,):
        if i is Ellipsis or i is None:
            items.append("..." if i is Ellipsis else "newaxis")
        elif isinstance(i, slice):
            items.append({"slice": [i.start, i.stop, i.step]})
        elif isinstance(i, int):
            items.append(i)
        else:
            a = np.asarray(i)
            items.append({"bools" if a.dtype == bool else "ints": a.tolist()})
    return items


def take(x, index):
    """x[index] in torch, which has no negative steps: those axes are flipped after an equivalent forward slice."""
    forward, flips, axis_out, axis_in = [], [], 0, 0
    index = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(i, slice) and (i.step or 1) < 0 for i in index):
        arrays = [torch.tensor(np.array(i, None if i else int)) if isinstance(i, list) else i for i in index]
        return x[tuple(arrays)]
    if index[0] is Ellipsis:
        index = (slice(None),) * (x.ndim - len(index) + 1) + index[1:]
    for i in index:                                  # with negative steps: only integers, slices and None
        if isinstance(i, slice):
            chosen = range(*i.indices(x.shape[axis_in]))
            if chosen.step < 0:
                chosen = chosen[::-1]
                flips.append(axis_out)
            forward.append(slice(chosen.start, max(chosen.stop, chosen.start), chosen.step))
        else:
            forward.append(i)
        axis_out += not isinstance(i, int)
        axis_in += i is not None
    return torch.flip(x[tuple(forward)], flips)


INDICES = {                                  # shape: what stands between the brackets
    (): ["()", "None"],
    (4,): ["1", "-1", "2:2", "10:", "[0, 2, 2]", "[]", "[True, False, True, True]", "[False, False, False, False]"],
    (5,): ["::-1", "4:0:-2", "0:3:-1", "[-1, 0]", "[[1, 1], [4, 0]]"],
    (3, 4): ["2", "1, 2", "1:3", ":, ::2", "..., 0", ":, None, 1", "-2:, :-1",
             "::-1, ::-2", "1, 2::-1", ":, None, -1:-4:-1",
             "[[0, 2], [1, 1]],", "[0, 1, 2], [3, 3, 0]", ":, [1, 1, 3]", "[[0], [2]], [[1, 3]]", "1, [0, 0, 0]",
             "None, [2, 0]", "[False, True, True]", ":, [True, False, False, True]", "[True, False, True], [0, 3]",
             "[True, True, False], 1:", "[[True, False, False, True], [False, True, True, False], [False] * 4],"],
    (2, 3, 4): ["..., None, 1:", ":, [0, 2], [1, 1]", "[0, 1], :, [1, 3]", "..., [3, 0]",
                "[[True, False, True], [False, False, True]],", "..., ::-1"],
}


def shape_cases():
    for shape, to in [((2, 3), (3, 2)), ((2, 3), (6,)), ((2, 3), (-1,)), ((4,), (2, -1)), ((2, 3), (1, 2, 3)),
                      ((), (1,)), ((1,), ()), ((0, 3), (3, 0))]:
        method("reshape", lambda t: t.reshape(to), normal(*shape), kwargs={"shape": list(to)})
    for shape, a, b in [((2, 3), 0, 1), ((2, 3, 4), 0, 2), ((2, 3, 4), -1, -2), ((3,), 0, 0)]:
        method("transpose", lambda t: t.transpose(a, b), normal(*shape), kwargs={"axis0": a, "axis1": b})
    for shape, axes in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 1, 3, 2), (0, 2, 1, 3)),
                        ((2, 3, 1), (-1, 0, 1))]:
        method("permute", lambda t: t.permute(axes), normal(*shape), kwargs={"axes": list(axes)})
    for shape, to in [((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (3, 2)), ((), (2, 2)), ((2, 1), (-1, 4)),
                      ((1,), (0,))]:
        method("expand", lambda t: t.expand(to), normal(*shape), kwargs={"shape": list(to)})
    for shape, axis in [((1, 3, 1), None), ((1, 3, 1), 0), ((1, 3, 1), -1), ((1, 1), None)]:
        method("squeeze", lambda t: t.squeeze() if axis is None else t.squeeze(axis), normal(*shape),
               kwargs={"axis": axis})
    for shape, axis in [((3,), 0), ((3,), -1), ((2, 3), 1), ((), 0)]:
        method("unsqueeze", lambda t: t.unsqueeze(axis), normal(*shape), kwargs={"axis": axis})
    for shape, a, b in [((2, 3), 0, -1), ((2, 3, 2), 1, -1), ((2, 3, 2), 0, 1), ((), 0, -1)]:
        method("flatten", lambda t: t.flatten(a, b), normal(*shape), kwargs={"start_axis": a, "end_axis": b})
    for shapes, axis in [(((2,), (3,)), 0), (((2, 3), (2, 1)), 1), (((1, 2), (2, 2), (0, 2)), 0),
                         (((2, 2), (2, 3)), -1)]:
        function("concat", lambda *ts: torch.cat(ts, axis), *[normal(*q) for q in shapes], kwargs={"axis": axis})
    for shape, n, axis in [((3,), 2, 0), ((2, 3), 3, 1), ((2,), 2, -1), ((), 3, 0)]:
        function("stack", lambda *ts: torch.stack(ts, axis), *[normal(*shape) for _ in range(n)],
                 kwargs={"axis": axis})
    for shape, sizes, axis in [((5,), [2, 3], 0), ((2, 4), [1, 3], 1), ((3, 2), [1, 0, 2], 0), ((2, 4), [2, 2], -1)]:
        method("split", lambda t: torch.split(t, sizes, axis), normal(*shape), kwargs={"sizes": sizes, "axis": axis})
    for shape, width, value in [((3,), [[1, 2]], 0.0), ((2, 3), [[1, 0], [0, 2]], 0.0),
                                ((2, 2), [[1, 1], [1, 1]], 2.5), ((0, 2), [[1, 0], [0, 0]], -1.0),
                                ((1, 2, 2), [[0, 0], [0, 0], [2, 1]], 0.0)]:
        flat = [n for pair in reversed(width) for n in pair]
        method("pad", lambda t: F.pad(t, flat, value=value), normal(*shape),
               kwargs={"pad_width": width, "value": value})
    for op, f in [("triu", torch.triu), ("tril", torch.tril)]:
        for shape, k in [((3, 3), 0), ((2, 4), 1), ((4, 2), -1), ((2, 3, 3), 0), ((3, 3), 5)]:
            method(op, lambda t: f(t, k), normal(*shape), kwargs={"k": k})

    for shape, texts in INDICES.items():
        for text in texts:
            index = eval(f"np.s_[{text}]", {"np": np})
            x = normal(*shape)
            if not np.array_equal(take(torch.tensor(x), index).numpy(), x[index]):
                raise AssertionError(f"torch and numpy disagree on {text}")
            note = "ints" if "[" in text else "basic"
            note = "bool" if "bools" in json.dumps(listed(index)) else note
            method("getitem", lambda t: take(t, index), x, kwargs={"index": listed(index)}, note=note)

    for shape, axis, ix in [((3, 4), 1, [[0, 3], [1, 1], [2, 0]]), ((3, 4), 0, [[0, 2, 1, 1]]), ((4,), 0, [3, 3, 0]),
                            ((2, 3, 2), -1, [[[0], [1], [1]], [[1], [0], [0]]]), ((3, 4), 1, [[0, 0], [2, 1]])]:
        ix = np.array(ix)
        method("gather", lambda t, i: torch.gather(t, axis, i), normal(*shape), ix, kwargs={"axis": axis})
        method("scatter_add", lambda t, i, src: t.scatter_add(axis, i, src), normal(*shape), ix, normal(*ix.shape),
               kwargs={"axis": axis})


def record_all():
    product_cases()
    reduction_cases()
    loss_cases()
    shape_cases()
