"""Record operator cases: values, gradients and second-order gradients as torch computes them.

Run:      python record_torch.py             (ten seconds; writes torch_cases.npz and torch_differs.md)
Needs:    torch (CPU), numpy, mpmath.  Recorded with torch 2.13.0, numpy 2.4.6, mpmath 1.3.0, one thread.
Format:   README.md beside this file.  The cases themselves are in cases_elementwise.py and cases_structured.py.

Each case is one call.  With y the output, c a random cotangent and w random weights:
    grads[i]  = d sum(c * y) / d input[i]
    grads2[i] = d sum_j(sum(w[j] * grads[j])) / d input[i]          (absent where it is zero or undefined)
    jvp       = d sum_j(sum(w[j] * grads[j])) / d c                 (what forward mode gives in direction w)
Unary functions at points where float64 torch loses digits come from mpmath instead (source 'mpmath').
"""

from pathlib import Path

import numpy as np
import torch
from mpmath import mp, mpf

import cases_elementwise
import cases_structured
import record_mpmath
from cases_elementwise import UNARY
from recorder import number, out

HERE = Path(__file__).parent
INF = float("inf")


# ---------------------------------------------------------------- tails, from mpmath

TAIL = [-745.0, -711.0, -514.0, -88.0, -38.5, -36.7, -26.2, -20.0, -9.0, -6.0, -1e-10, 1e-10, 6.0, 9.0, 16.7, 20.2,
        36.8, 38.5, 88.0, 514.0, 700.0]
BIG = [-1e300, 1e300]


def more_definitions():
    """Rows that have no entry in record_mpmath, as (f, f')."""
    tanh = mp.tanh
    return {
        "celu": lambda x: (x, mpf(1)) if x > 0 else (mp.expm1(x), mp.exp(x)),
        "tanhshrink": lambda x: (x - tanh(x), tanh(x) ** 2),
        "softsign": lambda x: (x / (1 + abs(x)), 1 / (1 + abs(x)) ** 2),
        "asinh": lambda x: (mp.asinh(x), 1 / mp.sqrt(1 + x * x)),
        "exp2": lambda x: (mpf(2) ** x, mp.log(2) * mpf(2) ** x),
        "acosh": lambda x: (mp.acosh(x), 1 / mp.sqrt(x * x - 1)),
        "atanh": lambda x: (mp.atanh(x), 1 / (1 - x * x)),
        "logit": lambda x: (mp.log(x / (1 - x)), 1 / (x * (1 - x))),
    }


def tail_cases():
    """Values and first derivatives, cotangent 1, correctly rounded.  Returns the rows where torch is off."""
    functions = {**record_mpmath.FUNCTIONS, **more_definitions()}
    small = [1e-300, 1e-20, 1e-10]
    ops = ("sigmoid logsigmoid softplus tanh silu mish gelu gelu_tanh elu selu celu exp expm1 exp2 sinh cosh erf erfc "
           "softsign asinh")
    where_to = {op: TAIL for op in ops.split()}
    where_to["tanhshrink"] = [x for x in TAIL if abs(x) > 1]             # x - tanh(x) cancels near 0 by nature
    for op in ("gelu", "gelu_tanh", "silu", "mish", "softsign", "asinh", "tanh", "sigmoid", "softplus"):
        where_to[op] = where_to[op] + BIG
    where_to |= {
        "log1p": [-1 + 2.0**-53, -1e-10, 1e-300, 1e-10, 1e300], "log": small + [1e300], "atan": BIG + [-1e10, 1e10],
        "acosh": [1 + 2.0**-52, 1 + 1e-10, 1e10, 1e300], "atanh": [-1e-10, 1e-10, 1 - 2.0**-53],
        "logit": small + [1 - 2.0**-53], "sqrt": small + [5e-324, 1e300], "rsqrt": small + [1e300],
        "sin": [1e22, 3.141592653589793], "cos": [1e22, 1.5707963267948966], "tan": [1e22, 1.5707963267948966],
    }
    rows = []
    for op, xs in where_to.items():
        for dtype in (np.float64, np.float32):
            with np.errstate(over="ignore", under="ignore"):
                x = np.unique(np.asarray(xs, dtype))
            lo, hi = {"acosh": (1, INF), "atanh": (-1, 1), "logit": (0, 1), "log1p": (-1, INF), "log": (0, INF),
                      "sqrt": (0, INF), "rsqrt": (0, INF)}.get(op, (-INF, INF))
            x = x[np.isfinite(x) & (x > lo) & (x < hi)]
            true = [[record_mpmath.split(v) for v in record_mpmath.truth(functions[op], xi)] for xi in x]
            y, d = (np.array([t[k][0] for t in true]) for k in (0, 1))
            if dtype is np.float32:
                with np.errstate(over="ignore", under="ignore"):
                    y, d = y.astype(dtype), d.astype(dtype)
            case = {"id": f"{op}/tail" + ("/f32" if dtype is np.float32 else ""), "op": op, "kind": "method",
                    "kwargs": {}, "dtype": np.dtype(dtype).name, "source": "mpmath", "grad": [True]}
            out.add(case, inputs=[x], outputs=[y], cotangents=[np.ones_like(x)], grads=[d])
            number[op] = number.get(op, 0) + 1
            if dtype is np.float64:
                t = torch.tensor(x, requires_grad=True)
                ty = UNARY[op][0](t)
                (td,) = torch.autograd.grad(ty.sum(), t)
                for j, xi in enumerate(x):
                    for what, got, k in (("f", ty[j].item(), 0), ("f'", td[j].item(), 1)):
                        ulps = off_by(got, *true[j][k])
                        if ulps > 16:
                            rows.append((op, what, xi, got, true[j][k][0], ulps))
    return rows


def off_by(got, hi, lo):
    """The error of `got` in ulp of the true value hi + lo * ulp."""
    if got == hi or (np.isinf(got) and np.isinf(hi)):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        error = abs((got - hi) / np.spacing(abs(hi)) - lo)
    return INF if np.isnan(error) else float(error)


# ---------------------------------------------------------------- the page of differences

def write_differs(rows, path):
    text = ["# Where the recorded truth is not torch's answer", "",
            "Written by `record_torch.py`; torch 2.13.0, float64, CPU. The cases hold the expected or true column.", "",
            "## Semantics", "",
            "| case | input | torch | expected | why |", "|---|---|---|---|---|"]
    show = lambda a: "[" + ", ".join(f"{v:.4g}" for v in np.atleast_1d(a)) + "]"
    pools = {k: np.concatenate(v) for k, v in out.pools.items()}
    fetch = lambda ref: pools[ref[0]][ref[1]:ref[1] + int(np.prod(ref[2]))].reshape(ref[2])
    for case in out.cases:
        if "differs" in case and case["dtype"] == "float64":
            key = "grads" if "torch_grads" in case else "outputs"
            name = case["kwargs"].get("expression", case["op"]) + (" gradient" if key == "grads" else " value")
            if key == "grads":
                name += ", cotangent " + show(fetch(case["cotangents"][0]))
            text.append(f"| {name} | {show(fetch(case['inputs'][0]))} | {show(fetch(case['torch_' + key][0]))} "
                        f"| {show(fetch(case[key][0]))} | {case['differs']} |")
    text += ["", "## Lost digits", "",
             f"{len(rows)} tail points where torch is off by more than 16 ulp of the true value (mpmath, 60 digits).",
             "`f` is the value, `f'` the derivative with cotangent 1.", "",
             "| op | | x | torch | true | error, ulp |", "|---|---|---|---|---|---|"]
    for op, what, x, got, true, ulps in rows:
        text.append(f"| {op} | {what} | {x:.17g} | {got:.17g} | {true:.17g} | {ulps:.1e} |")
    path.write_text("\n".join(text) + "\n")


def main():
    cases_elementwise.record_all()
    cases_structured.record_all()
    rows = tail_cases()
    out.save(HERE / "torch_cases.npz")
    write_differs(rows, HERE / "torch_differs.md")
    size = (HERE / "torch_cases.npz").stat().st_size
    print(f"{len(out.cases)} cases, {size} bytes; {len(rows)} points where torch is off")


if __name__ == "__main__":
    np.seterr(over="ignore")
    main()
