"""What is recorded of a net while it runs: its layers, one pass through each, and the numbers over the steps.

Nothing here knows which library the net is written in: an adapter fills ``Trace`` with arrays, the columns make numbers
of them, and a ``Record`` keeps those.
"""
import inspect
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from microgradx.errors import OptionError
from microgradx.flow import metrics, theory
from microgradx.flow.quadrature import Activation

__all__ = ["CHEAP", "COLUMNS", "Attribution", "Layer", "Record", "Trace", "layer_title"]


@dataclass
class Layer:
    """A layer as it was when it was first seen.

    ``name``: dotted, as in ``named_modules``; further calls of a module in one pass are ``name[1]``, ``name[2]`` ...
    ``kind``: the module's class. ``activation``: what is applied to its output, None if that is not known;
    ``scale``: the ``theory.Scale`` of its weights, None for a layer without a matrix. ``after``: the operations between
    its output and the layers that take it; "join" where outputs of several layers come together, of which this one is
    the last if ``branch``. ``units``: the numbers of its output that belong to one sample; the total norm of an error
    is that per unit times the root of it.
    """
    name: str
    kind: str
    shape: tuple
    activation: Activation | None
    scale: theory.Scale | None
    after: tuple = ()
    units: int = 1
    branch: bool = False

    def __str__(self):
        return f"{self.name} {self.kind}{list(self.shape)} {self.activation.name if self.activation else '?'}"


def layer_title(name, kind, shape):
    """A layer as a person knows it: "fc1 (Linear 64 -> 10)"."""
    return f"{name} ({' '.join([kind, ' -> '.join(map(str, shape[1::-1]))]).strip()})"


class Trace:
    """One layer in one pass; what was not seen is absent.

    x (B, n_in) comes in, z (B, n_out) is the pre-activation, a = phi(z); g = dC/da and delta = dC/dz; slope = phi'(z).
    weight; grad = dC/dW; before: the weights before the update. Samples are rows: positions of images and steps of
    sequences count as samples. ``seen`` holds what an adapter saw, in its own form; ``read(name, form)`` makes an
    array of it, when a number is asked for.
    """

    def __init__(self, read=lambda name, form: np.asarray(form), activation=None, **seen):
        self.read, self.activation, self.seen, self.arrays, self.bound = read, activation, seen, {}, False

    def __getitem__(self, name):
        """The array, in float64, or None; ``largest``: of the activation's slope; ``raw_z``: z as it came ..."""
        found = self.arrays.get(name)
        if found is None:
            if name in RAW:
                form = self.seen.get(RAW[name])
                found = self[RAW[name]] if form is None else self.read(RAW[name], form)
            elif name in self.seen:
                found = self.read(name, self.seen[name])
            elif name in ("slope", "largest") and self.activation is not None and "z" in self.seen:
                found = self.activation.slope(self["z"]) if name == "slope" else np.float64(self.activation.largest)
            elif name == "a" and self.bound and self.activation is not None and "z" in self.seen:
                found = self.activation(self["z"])                              # no module saw it
            if found is None:
                return None
            if name not in RAW and found.dtype != np.float64:
                found = found.astype(np.float64)
            self.arrays[name] = found
        return found

    def measure(self, columns):
        """{column: number}; nan where an array is missing."""
        found = {}
        for name in columns:
            function, needs = COLUMNS[name]
            given = [self[need] for need in needs]
            missing = given[0] is None or len(given) > 1 and any(array is None for array in given)
            found[name] = math.nan if missing else function(*given)
        return found

    def clear(self):
        """Let go of all arrays."""
        self.seen.clear()
        self.arrays.clear()


RAW = {f"raw_{name}": name for name in ("z", "a", "g", "delta")}         # in the dtype of the net


def _column(function):
    return function, tuple(inspect.signature(function).parameters)


def _dense(delta, x):
    return metrics.gsnr(delta, x) if len(delta) == len(x) else math.nan


# The numbers of a layer in one pass: functions of the arrays of a Trace, by name.
COLUMNS = {name: _column(function) for name, function in {
    "error": lambda raw_delta: metrics.error_norm(raw_delta),                       # M1
    "error_after": lambda raw_g: metrics.error_norm(raw_g),                         # M1, at the activation
    "mean_error": lambda delta: metrics.mean_error_norm(delta),                     # M1
    "grad": lambda grad: metrics.gradient_norm(grad),                               # M3
    "euler": lambda weight, grad: metrics.euler(weight, grad),                      # M3
    "q": lambda raw_z: metrics.mean_square(raw_z),                                  # M4
    "mean": lambda a: metrics.mean(a),                                              # M4
    "signal": lambda raw_a: metrics.signal(raw_a),                                  # M4
    "cosine": lambda z: metrics.cosine(z),                                          # M4
    "weight_square": lambda weight: metrics.mean_square(weight),                    # M5
    "slope_square": lambda slope: metrics.mean_square(slope),                       # M5
    "update": lambda before, weight: metrics.update_ratio(before, weight),          # M7
    "saturated": lambda slope, largest: metrics.saturated(slope, largest),          # M8
    "stuck": lambda slope, largest: metrics.stuck(slope, largest),                  # M8
    "dead": lambda slope, largest: metrics.dead(slope, 1e-3 * largest),             # M9
    "dormant": lambda a: metrics.dormant(a),                                        # M9
    "coherence": lambda grad: metrics.sign_coherence(grad),                         # M10
    "same_sign": lambda grad: metrics.same_sign(grad),                              # M10
    "offset": lambda x: metrics.offset(x),                                          # M12
    "gsnr": _dense,                                                                 # M15
    "zeros": lambda raw_delta: metrics.floor(raw_delta).zeros,                      # M16
    "subnormal": lambda raw_delta: metrics.floor(raw_delta).subnormal,              # M16
    "bits": lambda raw_delta: metrics.floor(raw_delta).bits,                        # M16
    "distinct": lambda a: metrics.distinct_rows(a),                                 # M16
    "x_square": lambda x: metrics.mean_square(x),                                   # what theory starts from
    "x_cosine": lambda x: metrics.cosine(x),
}.items()}

# Operations between layers that the maps of theory do not cover.
NOT_DERIVED = ("join", "stride", "dropout", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "mean",
               "stack", "concat", "add", "mul", "sum", "amax")

CHEAP = ("error", "error_after", "q", "signal")                         # a few passes over the activations


class Attribution(NamedTuple):
    """Why the error norm changes from one layer to the one before: arrays (L,).

    gain: D_l / D_(l+1), nan at the last layer. weights: its part between this activation and the pre-activations above,
    ||dC/da_l|| over ||delta_(l+1)|| per unit. slope: the part of this activation's derivative, ||delta_l|| over
    ||dC/da_l||. gain = weights * slope.
    """
    gain: np.ndarray
    weights: np.ndarray
    slope: np.ndarray


class Record:
    """The numbers of a run: at most ``keep`` steps of it, evenly thinned, and in full the first pass and the latest one
    that was measured in full.

    ``layers``: list of ``Layer`` in the order of the forward pass. ``steps``: the passes that are kept, from 0.
    ``record["error"]``: any of ``COLUMNS`` over them, (steps, layers), nan where it was not measured.
    ``detached``: names of modules that ran without a graph although their weights want a gradient.
    ``first``, ``latest``: {column: (L,)}, and ``latest_step``. ``losses``: what ``note`` was given, (steps,).
    """

    def __init__(self, keep=1024):
        if isinstance(keep, bool) or not isinstance(keep, int) or keep < 2:
            raise OptionError(f"watch: keep is an integer >= 2, not {keep!r}")
        self.keep, self.stride, self.layers, self.steps = keep, 1, [], []
        self.first, self.latest, self.latest_step = None, None, None
        self.detached = []
        self._rows, self._losses, self._loss = [], [], math.nan

    def note(self, loss):
        """Put the loss of the pass that is under way next to its numbers."""
        self._loss = float(loss)

    def add(self, step, values, full=False):
        """Keep what was measured in pass ``step``: {column: (L,)}, all columns if ``full``. Adapters call it."""
        loss, self._loss = self._loss, math.nan
        if full:
            self.latest, self.latest_step = values, step
            self.first = self.first or values
        if step % self.stride:
            return
        self.steps.append(step)
        self._rows.append(values)
        self._losses.append(loss)
        if len(self.steps) > self.keep:
            self.stride *= 2
            kept = [k for k, s in enumerate(self.steps) if s % self.stride == 0]
            for series in (self.steps, self._rows, self._losses):
                series[:] = [series[k] for k in kept]

    def __getitem__(self, column):
        if column not in COLUMNS:
            raise OptionError(f"record: {column!r} is none of {', '.join(COLUMNS)}")
        missing = np.full(len(self.layers), math.nan)
        return np.array([row.get(column, missing) for row in self._rows]).reshape(len(self.steps), len(self.layers))

    @property
    def losses(self):
        return np.array(self._losses)

    def attribution(self, values=None):
        """The ``Attribution`` of the error's gain, of the first pass or of ``values``, such as ``latest``."""
        values = self._first() if values is None else values
        error, after = values["error"], values["error_after"]
        with np.errstate(divide="ignore", invalid="ignore"):
            above = np.append(error[1:], math.nan)
            return Attribution(error / above, after / above, error / after)

    def chi(self, values=None):
        """M5 against which gain^2 is held: n_out mean(W^2) of the layer above times mean phi'^2 of this one, (L,)."""
        values = self._first() if values is None else values
        above = [layer.scale.n_out if layer.scale else math.nan for layer in self.layers] * values["weight_square"]
        return np.append(above[1:], math.nan) * values["slope_square"]

    def expected(self):
        """The ``theory.Expected`` profile of the net's initial weights for the inputs of the first pass; None where
        theory has no map for a layer: ``unexplained`` says why."""
        if self.unexplained():
            return None
        first = self._first()
        return theory.expected([layer.scale for layer in self.layers], first["x_square"][0],
                               np.nan_to_num(first["x_cosine"][0], nan=1.0))

    def unexplained(self):
        """Why there is no theory for the net: a phrase; None where there is one."""
        for layer in self.layers:
            if layer.scale is None:
                return f"{layer.name} ({layer.kind}) is no matrix"
            if layer.activation is None:
                return f"what follows {layer.name} is not known ({', '.join(layer.after) or 'nothing was seen'})"
            beyond = [name for name in layer.after if name in NOT_DERIVED]
            if beyond:
                return f"{', '.join(beyond)} behind {layer.name}"
        return None if math.isfinite(self._first()["x_square"][0]) else "its inputs are no floats"

    def total(self, values=None):
        """The total norm of every layer's error, of the first pass or of ``values``: (L,)."""
        values = self._first() if values is None else values
        return values["error"] * np.sqrt([layer.units for layer in self.layers])

    def _first(self):
        if self.first is None:
            raise OptionError("record: no forward and backward pass was seen")
        return self.first
