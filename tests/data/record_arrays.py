"""Record cases of arrays, indexing and linalg: values and two orders of gradients as torch computes them.

Run:      python record_arrays.py             (two seconds; writes arrays_cases.npz)
Needs:    torch (CPU), numpy.  Recorded with torch 2.13.0, numpy 2.4.6, one thread.
Format:   README.md beside this file. `op` is the name in `mgx`, or in `mgx.linalg` where `kind` is "linalg"; kind
          "sequence" takes the inputs as one list. `kwargs` are in positional order and passed by name.
"""
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from recorder import away, normal, out, record, rng

INF = float("inf")


def case(op, f, *arrays, kind="arrays", **kw):
    """f takes torch tensors and the values of kwargs."""
    kwargs = kw.pop("kwargs", {})
    record(op, kind, lambda *xs: f(*xs, *kwargs.values()), arrays,
           kwargs={k: {INF: "inf", -INF: "-inf"}.get(v, v) if isinstance(v, float) else v for k, v in kwargs.items()},
           **kw)


def distinct(*shape):
    return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.7 - 1.1


def axes_cases():
    for shape, to in [((3,), (2, 3)), ((), (2,)), ((2, 1), (2, 0))]:
        case("broadcast_to", torch.broadcast_to, normal(*shape), kwargs={"shape": list(to)})
    for shape in [(2, 3), (), (0, 2)]:
        case("ravel", torch.ravel, normal(*shape))
    case("swapaxes", torch.swapaxes, normal(2, 3, 2), kwargs={"axis0": 0, "axis1": -1})
    for shape, a, b in [((2, 3, 4), 0, -1), ((2, 3, 4, 1), (0, 1), (-1, 0)), ((2, 0), 1, 0)]:
        for op in ("movedim", "moveaxis"):
            case(op, getattr(torch, op), normal(*shape), kwargs={"source": a, "destination": b})
    for shape, k, i, j in [((3, 3), 0, 0, 1), ((2, 4), 1, 0, 1), ((4, 2), -1, 0, 1), ((2, 3, 2), 0, -1, 0),
                           ((2, 3), 4, 0, 1), ((0, 3), 0, 0, 1)]:
        case("diagonal", torch.diagonal, normal(*shape), kwargs={"offset": k, "axis1": i, "axis2": j})
    for shape, k in [((3,), 0), ((2,), 2), ((2,), -1), ((2, 3), 1), ((0,), 0)]:
        case("diag", torch.diag, normal(*shape), kwargs={"k": k})
    case("trace", torch.trace, normal(3, 3))
    case("trace", torch.trace, normal(2, 3))


def repetition_cases():
    for shape, reps in [((2,), (3,)), ((2, 3), (2,)), ((2,), (2, 2)), ((), (2,)), ((2, 1), (0, 2)), ((2, 3), (1, 1))]:
        case("tile", lambda t, r: torch.tile(t, tuple(r)), normal(*shape), kwargs={"reps": list(reps)})
    for shape, n, axis in [((3,), 2, None), ((2, 2), 2, None), ((2, 3), 3, 1), ((2, 3), [2, 0], 0), ((2, 2), 0, -1)]:
        for op in ("repeat", "repeat_interleave"):
            case(op, lambda t, n, axis: torch.repeat_interleave(t, torch.tensor(n) if isinstance(n, list) else n, axis),
                 normal(*shape), kwargs={"repeats": n, "axis": axis})
    for shape, axis in [((3,), 0), ((2, 3), (0, 1)), ((2, 3), -1), ((0, 2), 1)]:
        case("flip", lambda t, d: torch.flip(t, d if isinstance(d, tuple) else (d,)), normal(*shape),
             kwargs={"axis": axis})
    for shape, n, axis in [((4,), 1, 0), ((4,), -5, 0), ((2, 3), 2, None), ((2, 3), (1, 2), (0, 1)), ((0, 2), 1, 0),
                           ((), 3, None)]:
        case("roll", torch.roll, normal(*shape), kwargs={"shifts": n, "axis": axis})
    for shapes in [((2,), (3,)), ((), ()), ((2, 3), (2, 1))]:
        case("hstack", lambda *ts: torch.hstack(ts), *[normal(*s) for s in shapes], kind="sequence")
    for shapes in [((3,), (3,)), ((2, 3), (3,)), ((), ())]:
        case("vstack", lambda *ts: torch.vstack(ts), *[normal(*s) for s in shapes], kind="sequence")
    for shape, count, axis in [((5,), 2, 0), ((2, 7), 3, 1), ((2, 3), 5, -1), ((0, 2), 2, 0)]:
        case("chunk", torch.chunk, normal(*shape), kwargs={"chunks": count, "axis": axis})
    for shape, axis in [((2, 3), 0), ((2, 3), -1), ((3,), 0)]:
        case("unbind", torch.unbind, normal(*shape), kwargs={"axis": axis})
    for lo, hi in [(-0.5, 0.7), (None, 0.2), (0.1, None)]:
        case("clamp", torch.clamp, away((2, 3), -2, 2, (-0.5, 0.7, 0.2, 0.1)), kwargs={"min": lo, "max": hi})
    for op in ("cat", "concatenate"):
        case(op, lambda *ts: torch.cat(ts), normal(2, 3), normal(1, 3), kind="sequence")


def order_cases():
    for shape, axis in [((5,), -1), ((3, 4), 0), ((2, 3, 2), 1), ((), -1), ((0, 3), 1), ((2, 0), 1)]:
        for descending in (False, True):
            kwargs = {"axis": axis, "descending": descending}
            case("sort", torch.sort, distinct(*shape), kwargs=kwargs)
            case("argsort", torch.argsort, distinct(*shape), kwargs=kwargs, order=0)
    for descending in (False, True):
        ties = np.array([[2.0, 1, 2, 1, 2], [np.nan, 3, -INF, np.nan, INF]])
        case("sort", lambda t, axis, descending: torch.sort(t, dim=axis, descending=descending, stable=True), ties,
             kwargs={"axis": 1, "descending": descending}, order=0, note="ties-nan")
    for shape, k, axis, largest in [((5,), 2, -1, True), ((3, 4), 2, 0, False), ((2, 3), 3, 1, True),
                                    ((4,), 0, 0, True)]:
        case("topk", torch.topk, distinct(*shape), kwargs={"k": k, "axis": axis, "largest": largest})
    for shape in [(5,), (2, 3), (), (1, 4)]:
        case("median", torch.median, distinct(*shape))
    case("median", torch.median, np.array([1.0, 2, 2, 3, 2]), note="ties")
    case("median", torch.median, np.array([1.0, np.nan, 2]), note="nan", order=0)
    for shape, axis, keep in [((5,), 0, False), ((3, 4), 1, True), ((3, 4), 0, False), ((), 0, False),
                              ((2, 3), -1, False)]:
        case("median", torch.median, distinct(*shape), kwargs={"axis": axis, "keepdims": keep})
    case("median", torch.median, np.array([[1.0, np.nan, 2, np.nan]]), kwargs={"axis": 1}, note="nan", order=0)
    for shape, axis in [((6,), 0), ((2, 5), 1), ((3, 2), -2), ((0, 3), 1), ((1,), 0)]:
        case("cumprod", torch.cumprod, normal(*shape), kwargs={"axis": axis})
    case("cumprod", torch.cumprod, np.array([[2.0, 0, 3, 4], [0.0, 1, 0, 5]]), kwargs={"axis": 1}, note="zeros")


def index_cases():
    for shape, axis, ix in [((3, 2), 0, [2, 0, 2]), ((2, 3), -1, [1]), ((4,), 0, [])]:
        ix = np.array(ix, np.int64)
        case("index_select", lambda t, i, axis: torch.index_select(t, axis, i), normal(*shape), ix,
             kwargs={"axis": axis})
        source = list(shape)
        source[axis] = len(ix)
        case("index_add", lambda t, i, s, axis: torch.index_add(t, axis, i, s), normal(*shape), ix, normal(*source),
             kwargs={"axis": axis})
    case("index_add", lambda t, i, s, axis, alpha: torch.index_add(t, axis, i, s, alpha=alpha), normal(3),
         np.array([0, 2]), normal(2), kwargs={"axis": 0, "alpha": -2.0})
    for shape, axis, ix in [((3, 4), 1, [[0, 3], [1, 2], [2, 0]]), ((3, 4), 0, [[0, 2, 1, 1]]), ((4,), 0, [3, 0])]:
        ix = np.array(ix)
        case("scatter", lambda t, i, s, axis: torch.scatter(t, axis, i, s), normal(*shape), ix, normal(*ix.shape),
             kwargs={"axis": axis})
    for shape, ix, axis in [((3, 4), [[0], [1], [3]], 1), ((3, 4), [[0, 2, 1, 1]], 0), ((1, 4), [[0], [3]], 1),
                            ((2, 2), [3, 0, 3], None)]:
        for op in ("take_along_dim", "take_along_axis"):
            case(op, torch.take_along_dim, normal(*shape), np.array(ix), kwargs={"axis": axis})
    mask = np.array([[True, False, True], [False, False, True]])
    for m in (mask, mask[0], mask[:, :1], ~mask & False):
        case("masked_select", torch.masked_select, normal(2, 3), m)
        case("masked_fill", torch.masked_fill, normal(2, 3), m, kwargs={"value": 1.5})
    case("masked_fill", torch.masked_fill, normal(2, 3), mask, normal())
    odd = np.array([[1.0, np.nan, INF], [-INF, 0, -2]])
    for op in ("isnan", "isinf", "isfinite"):
        case(op, getattr(torch, op), odd, order=0)
    for op in ("any", "all"):
        for x in (mask, mask.astype(float), np.ones((0, 2)), odd):
            case(op, getattr(torch, op), x, order=0)
            case(op, getattr(torch, op), x, kwargs={"axis": 1, "keepdims": True}, order=0)
    for equal_nan in (False, True):
        kwargs = {"rtol": 1e-5, "atol": 1e-8, "equal_nan": equal_nan}
        case("isclose", torch.isclose, odd, odd + 1e-9, kwargs=kwargs, order=0, f32=False)
        case("allclose", lambda *a: torch.tensor(torch.allclose(*a)), odd, odd + 1e-9, kwargs=kwargs, order=0,
             f32=False)


def product_cases():
    for op, a, b in [("mm", (2, 3), (3, 4)), ("mm", (0, 3), (3, 2)), ("mv", (2, 3), (3,)),
                     ("bmm", (2, 3, 2), (2, 2, 3)),
                     ("bmm", (0, 3, 2), (0, 2, 3)), ("dot", (3,), (3,)), ("dot", (0,), (0,))]:
        case(op, getattr(torch, op), normal(*a), normal(*b))
    for beta, alpha in [(1, 1), (0.5, -2.0), (0, 1)]:
        case("addmm", lambda x, a, b, beta, alpha: torch.addmm(x, a, b, beta=beta, alpha=alpha), normal(2, 4),
             normal(2, 3), normal(3, 4), kwargs={"beta": beta, "alpha": alpha}, order=2 if beta else 0)
    case("addmm", torch.addmm, normal(4), normal(2, 3), normal(3, 4), note="bias")
    for a, b, axes in [((2, 3, 4), (3, 4, 2), 2), ((2, 3), (4,), 0), ((3, 2), (4, 3), [[0], [1]]),
                       ((2, 3, 4), (4, 3), [[1, 2], [1, 0]]), ((3,), (3,), 1)]:
        case("tensordot", torch.tensordot, normal(*a), normal(*b), kwargs={"axes": axes})
    for shape, p, axis in [((2, 3), 2, 1), ((2, 3), 1, 0), ((4,), 2, 0), ((2, 3, 2), 3, -1)]:
        case("normalize", F.normalize, away(shape, -2, 2, (0,)), kwargs={"p": p, "axis": axis})
    case("normalize", F.normalize, np.array([[0.0, 0.0], [3.0, 4.0]]), note="zero-row", order=0)
    for a, b, axis in [((2, 3), (2, 3), 1), ((2, 3), (1, 3), -1), ((4,), (4,), 0)]:
        case("cosine_similarity", F.cosine_similarity, normal(*a), normal(*b), kwargs={"axis": axis})
    for shape, axis in [((4,), -1), ((2, 3), 0), ((2, 0), 1)]:
        case("glu", F.glu, normal(*shape), kwargs={"axis": axis})


def linalg_cases():
    L = torch.linalg
    sym = lambda a: (a + a.mT) / 2
    def lin(op, f, *arrays, **kw):
        case(op, f, *arrays, kind="linalg", **kw)
    for shape in [(3, 3), (1, 1), (2, 3, 3), (0, 0), (0, 2, 2)]:
        a = normal(*shape)
        lin("cholesky", lambda t: L.cholesky(sym(t)), a @ np.swapaxes(a, -1, -2) + 2 * np.eye(shape[-1]))
        for op in ("inv", "det", "slogdet"):
            lin(op, getattr(L, op), a + 2 * np.eye(shape[-1]))
        distinct_ = sym(torch.tensor(normal(*shape))).numpy() + np.diag(np.arange(shape[-1]) * 3.0)
        lin("eigvalsh", lambda t: L.eigvalsh(sym(t)), distinct_)
        lin("eigh", lambda t: L.eigh(sym(t)), distinct_, order=0)
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    lin("slogdet", L.slogdet, np.zeros((2, 2)), note="singular", order=0)
    lin("det", L.det, singular, note="singular", order=0)
    for a, b in [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((2, 2), (3, 2, 2)), ((2, 2), (2, 0)),
                 ((0, 0), (0, 2))]:
        lin("solve", L.solve, normal(*a) + 2 * np.eye(a[-1]), normal(*b))
    for shape in [(3, 2), (2, 4), (2, 2), (2, 3, 2)]:
        lin("svdvals", L.svdvals, normal(*shape), f32=True)
    for shape in [(3, 2), (2, 3), (2, 2)]:
        lin("pinv", L.pinv, normal(*shape))
    lin("lstsq", lambda a, b: L.lstsq(a, b).solution, normal(4, 2), normal(4, 3), note="tall")
    for ord in ("fro", "nuc", 1, -1, 2, -2, INF, -INF):
        for shape, axis, keep in [((3, 2), (-2, -1), False), ((2, 3, 2), (0, 2), True)]:
            lin("matrix_norm", L.matrix_norm, away(shape, -2, 2, (0,)),
                kwargs={"ord": ord, "axis": axis, "keepdims": keep})
    for ord in (2, 1, 3, INF):
        lin("vector_norm", L.vector_norm, away((2, 3), -2, 2, (0,)), kwargs={"ord": ord, "axis": 1, "keepdims": False})


if __name__ == "__main__":
    for cases in (axes_cases, repetition_cases, order_cases, index_cases, product_cases, linalg_cases):
        cases()
    path = Path(__file__).parent / "arrays_cases.npz"
    out.save(path)
    print(f"{len(out.cases)} cases, {path.stat().st_size} bytes")
