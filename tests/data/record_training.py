"""Record what trains: costs with their gradients, 20 steps of every optimizer, the course of every schedule.

Run:      python record_training.py          (seconds; writes torch_training.npz)
Needs:    torch (CPU), numpy.  Recorded with torch 2.13.0, numpy 2.4.6, one thread.
Format:   README.md beside this file.
"""
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from recorder import away, normal, out, record, rng

REDUCTIONS = ("mean", "sum", "none")
STEPS = 20


# ---------------------------------------------------------------- costs

def cost(op, *arrays, names=(), f=None, reductions=REDUCTIONS, note="", order=2, **kwargs):
    """Every reduction; the last arrays are options called ``names``, without gradient."""
    f = f or getattr(F, op)
    given = len(arrays) - len(names)
    for reduction in reductions:
        def call(*xs, reduction=reduction):
            options = {name: x.detach() for name, x in zip(names, xs[given:])}
            return f(*xs[:given], reduction=reduction, **kwargs, **options)
        record(op, "cost", call, arrays, kwargs={**kwargs, "reduction": reduction}, names=list(names),
               note="-".join(filter(None, (note, reduction))), order=order, f32=reduction == "mean")


def reduced(terms, reduction):
    return terms if reduction == "none" else getattr(terms, reduction)()


def hinge(p, t, reduction, margin=1.0):
    return reduced((margin - t * p).clamp(min=0), reduction)


def quadratic(p, t, reduction):
    return reduced(((p - t) ** 2).sum(1) / 2, reduction)


def rows(*shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def costs():
    p, t = normal(3, 4), normal(3, 4)
    apart = t + away((3, 4), -3, 3, (-2, -1, -0.5, 0, 0.5, 1, 2))
    cost("mse_loss", p, t)
    cost("quadratic_cost", p, t, f=quadratic)
    cost("l1_loss", apart, t)
    for kwargs in ({}, {"delta": 0.5}, {"delta": 2.0}):
        cost("huber_loss", apart, t, **kwargs)
    for kwargs in ({}, {"beta": 0.5}, {"beta": 0.0}):
        cost("smooth_l1_loss", apart, t, **kwargs)
    share, inside = rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(0.05, 0.95, (3, 4))
    cost("binary_cross_entropy", inside, share)
    cost("binary_cross_entropy", inside, share, rng.uniform(0.5, 2, (3, 1)), names=["weight"], note="weight")
    cost("binary_cross_entropy_with_logits", 3 * p, share)
    for names in (["weight"], ["pos_weight"], ["weight", "pos_weight"]):
        cost("binary_cross_entropy_with_logits", 3 * p, share, *[rng.uniform(0.5, 2, 4) for _ in names], names=names,
             note="-".join(names))
    sign = rng.choice([-1.0, 1.0], (3, 4))
    cost("hinge_loss", sign * (1 + away((3, 4), -2, 2, (0,))), sign, f=hinge)
    cost("hinge_loss", sign * (0.5 + away((3, 4), -2, 2, (0,))), sign, f=hinge, margin=0.5)
    for note, var in (("", (3, 4)), ("row", (3,)), ("column", (3, 1))):
        for full in (False, True):
            cost("gaussian_nll_loss", p, t, rng.uniform(0.5, 2, var), full=full, note=note)
    cost("gaussian_nll_loss", p, t, np.array([[1e-3, 1, 2, 0.5]] * 3), eps=0.01, order=1, note="eps")

    logits, labels, shares = normal(5, 3), np.array([0, 2, 1, 2, 0]), rows(5, 3)
    some, weight = np.array([0, -100, 1, 2, -100]), rng.uniform(0.2, 3, 3)
    for smoothing in (0.0, 0.1, 1.0):
        for target, note in ((labels, ""), (some, "ignored"), (shares, "shares")):
            cost("cross_entropy", logits, target, label_smoothing=smoothing, note=note)
            cost("cross_entropy", logits, target, weight, names=["weight"], label_smoothing=smoothing,
                 note=note + "weight")
    cost("cross_entropy", logits, labels, ignore_index=2, note="ignore")
    cost("cross_entropy", normal(2, 3, 2, 2), rng.integers(0, 3, (2, 2, 2)), note="deep")
    cost("cross_entropy", normal(2, 3, 2), rows(2, 2, 3).transpose(0, 2, 1), weight, names=["weight"],
         note="deep-shares")
    cost("cross_entropy", np.array([[1000.0, 0, -1000], [0, 800, 0]]), np.array([0, 0]), weight, names=["weight"],
         note="large", order=1)
    logp = np.log(rows(5, 3))
    cost("nll_loss", logp, labels)
    cost("nll_loss", logp, some, weight, names=["weight"], note="weight-ignored")
    cost("nll_loss", normal(2, 3, 2), np.array([[0, 2], [1, 1]]), ignore_index=1, note="deep-ignore")
    for kwargs in ({}, {"p": 2}, {"margin": 0.5}):
        cost("multi_margin_loss", logits, labels, order=1, **kwargs)
    cost("multi_margin_loss", logits, labels, weight, names=["weight"], note="weight", order=1)
    for log in (False, True):
        cost("kl_div", logp, np.log(shares) if log else shares, log_target=log, reductions=(*REDUCTIONS, "batchmean"))


# ---------------------------------------------------------------- optimizers

OPTIMIZERS = [("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "weight_decay": 0.2}), ("SGD", {"lr": 0.05, "momentum": 0.9}),
              ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
              ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1})]
OPTIMIZERS += [("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, **more}) for more in (
    {}, {"centered": True}, {"momentum": 0.9}, {"centered": True, "momentum": 0.5, "weight_decay": 0.1})]
OPTIMIZERS += [("RMSprop", {}), ("Adagrad", {}),
               ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3}),
               ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5})]
OPTIMIZERS += [(name, kwargs) for name in ("Adam", "AdamW") for kwargs in (
    {}, {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3}, {"lr": 0.05, "weight_decay": 0.3},
    {"lr": 0.05, "betas": [0.0, 0.0]})]
OPTIMIZERS += [("SGD", {"lr": 0.05, "momentum": 0.9, "maximize": True}), ("SGD", {"lr": 0.05, "maximize": True}),
               ("RMSprop", {"lr": 0.02, "weight_decay": 0.1, "maximize": True}),
               ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
               ("Adam", {"lr": 0.05, "amsgrad": True, "betas": [0.8, 0.5], "weight_decay": 0.1}),
               ("Adam", {"lr": 0.05, "maximize": True, "weight_decay": 0.2, "decoupled_weight_decay": True}),
               ("AdamW", {"lr": 0.05, "amsgrad": True, "betas": [0.8, 0.5], "maximize": True})]
OPTIMIZERS += [("Adadelta", kwargs) for kwargs in (
    {}, {"lr": 0.5, "rho": 0.7, "eps": 1e-3}, {"lr": 0.5, "weight_decay": 0.1, "maximize": True})]
OPTIMIZERS += [("Adamax", kwargs) for kwargs in (
    {}, {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3}, {"lr": 0.1, "weight_decay": 0.1, "maximize": True})]
OPTIMIZERS += [("NAdam", kwargs) for kwargs in (
    {}, {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1}, {"lr": 0.1, "momentum_decay": 0.1},
    {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True})]
OPTIMIZERS += [("RAdam", kwargs) for kwargs in (
    {}, {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1}, {"lr": 0.1, "betas": [0.9, 0.5]},
    {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True})]
OPTIMIZERS += [("Rprop", kwargs) for kwargs in (
    {}, {"lr": 0.1, "etas": [0.3, 2.0], "step_sizes": [0.01, 0.3]}, {"lr": 0.1, "maximize": True})]
OPTIMIZERS += [("ASGD", kwargs) for kwargs in (
    {}, {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 5.0}, {"lr": 0.1, "weight_decay": 0.1, "maximize": True})]
SHAPES = [(3, 2), (5,), (), (2, 0)]


def optimizers():
    for number, (name, kwargs) in enumerate(OPTIMIZERS):
        starts, slopes = [normal(*s) for s in SHAPES], [normal(STEPS, *s) for s in SHAPES]
        for dtype in ("float64", "float32"):
            torch.set_default_dtype(getattr(torch, dtype))          # of the numbers that NAdam and ASGD count
            params = [torch.tensor(np.asarray(a, dtype), requires_grad=True) for a in starts]
            gradients = [torch.tensor(np.asarray(a, dtype)) for a in slopes]
            opt, course = getattr(torch.optim, name)(params, **kwargs), [[] for _ in params]
            for step in range(STEPS):
                for p, g, places in zip(params, gradients, course):
                    p.grad = g[step].clone()
                    places.append(p)
                opt.step()
                course = [places[:-1] + [p.detach().clone()] for p, places in zip(params, course)]
            case = {"id": f"{name}/{number:02d}/{dtype}", "op": name, "kind": "optimizer", "kwargs": kwargs,
                    "dtype": dtype}
            out.add(case, inputs=[np.asarray(a, dtype) for a in starts] + gradients,
                    outputs=[torch.stack(places) for places in course])


# ---------------------------------------------------------------- schedules

SCHEDULES = [
    ("StepLR", {"step_size": 3}), ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 11], "gamma": 0.3}), ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {}), ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 8}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}), ("CosineAnnealingLR", {"T_max": 30}),
    ("LambdaLR", {"lr_lambda": "lambda t: 0.95**t + t"}),
    ("OneCycleLR", {"max_lr": 1.5, "total_steps": 26}), ("OneCycleLR", {"max_lr": [1.5, 0.5], "total_steps": 26}),
    ("OneCycleLR", {"max_lr": 1.5, "epochs": 13, "steps_per_epoch": 2, "anneal_strategy": "linear", "pct_start": 0.4}),
    ("OneCycleLR", {"max_lr": 1.5, "total_steps": 26, "three_phase": True, "div_factor": 10.0, "final_div_factor": 50.0,
                    "base_momentum": 0.5, "max_momentum": 0.9}),
    ("SequentialLR", {"schedulers": [["LinearLR", {"total_iters": 4}], ["CosineAnnealingLR", {"T_max": 10}],
                                     ["ExponentialLR", {"gamma": 0.5}]], "milestones": [4, 14]}),
    ("ReduceLROnPlateau", {"patience": 2}),
    ("ReduceLROnPlateau", {"mode": "max", "factor": 0.5, "patience": 1, "cooldown": 2, "threshold_mode": "abs",
                           "threshold": 0.1, "min_lr": [0.01, 0.1]}),
    ("MultiplicativeLR", {"lr_lambda": "lambda t: 0.9 + 0.01 * t"}), ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 8}), ("PolynomialLR", {"total_iters": 12, "power": 2.0}),
    ("PolynomialLR", {}), ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}), ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": [0.9, 0.5], "step_size_up": 3, "step_size_down": 5, "mode": "triangular2",
                  "base_momentum": 0.7, "max_momentum": 0.95}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9,
                  "cycle_momentum": False}),
    ("ChainedScheduler", {"schedulers": [["ConstantLR", {"factor": 0.1, "total_iters": 4}],
                                         ["ExponentialLR", {"gamma": 0.9}]]}),
    ("ChainedScheduler", {"schedulers": [["CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}],
                                         ["LinearLR", {"total_iters": 8}], ["StepLR", {"step_size": 5}]]}),
    ("SequentialLR", {"schedulers": [["ConstantLR", {"total_iters": 3}], ["PolynomialLR", {"total_iters": 9}]],
                      "milestones": [6]})]


def schedule(library, optimizer, name, kwargs):
    """Serves torch and microgradx alike; tests/test_optim.py says the same."""
    kwargs = dict(kwargs)
    if "lr_lambda" in kwargs:
        kwargs["lr_lambda"] = eval(kwargs["lr_lambda"])
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [getattr(library, n)(optimizer, **kw) for n, kw in kwargs["schedulers"]]
    if name == "ChainedScheduler":
        return library.ChainedScheduler(**kwargs)
    return getattr(library, name)(optimizer, **kwargs)


def schedules():
    measures = np.concatenate([np.linspace(1, 0.5, 6), np.full(8, 0.5), [0.4], np.full(10, 0.45)])
    for number, (name, kwargs) in enumerate(SCHEDULES):
        for kind in ("SGD", "Adam"):
            params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
            groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.3}]
            opt = torch.optim.SGD(groups, lr=0.8, momentum=0.9) if kind == "SGD" else torch.optim.Adam(groups, lr=0.8)
            follow = schedule(torch.optim.lr_scheduler, opt, name, kwargs)
            momentum = lambda: [g["momentum"] if kind == "SGD" else g["betas"][0] for g in opt.param_groups]
            rates, momenta = [[g["lr"] for g in opt.param_groups]], [momentum()]
            for measure in measures:
                opt.step()
                follow.step(*[measure] * (name == "ReduceLROnPlateau"))
                rates.append([g["lr"] for g in opt.param_groups])
                momenta.append(momentum())
            case = {"id": f"{name}/{number:02d}/{kind}", "op": name, "kind": "schedule", "kwargs": kwargs,
                    "optimizer": kind}
            out.add(case, inputs=[measures], outputs=[np.array(rates), np.array(momenta)])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    costs()
    optimizers()
    schedules()
    path = Path(__file__).parent / "torch_training.npz"
    out.save(path)
    print(f"{len(out.cases)} cases, {path.stat().st_size} bytes")
