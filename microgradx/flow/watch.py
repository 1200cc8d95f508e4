"""Watching a net while it trains: hooks that turn each pass into the numbers of a ``Record`` and keep nothing else.

A layer is a module with a weight of its own. Its output is z; what an activation makes of z is a. When the backward
pass arrives at z all arrays of the layer are known: its numbers are computed on the spot and the arrays let go. The
gradient of a weight is met by a hook on the weight; its update is seen when the next pass begins.
"""
import functools
import math

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, Error, OptionError
from microgradx.flow import theory
from microgradx.flow.quadrature import Activation, activation
from microgradx.flow.records import CHEAP, COLUMNS, Layer, Record, Trace
from microgradx.nn import Module
from microgradx.nn import functional as F

__all__ = ["Watch", "watch"]

# Modules without a weight through which a pre-activation or an activation passes as what it is.
PASSING = ("Identity", "Flatten", "Unflatten", "Dropout", "MaxPool", "AvgPool", "AdaptiveAvgPool")
CHANNELS_FIRST = ("Conv", "BatchNorm", "GroupNorm", "InstanceNorm")     # whose units are axis 1, not the last
ERRORS = ("error", "error_after", "mean_error")                         # what counts per sample's cost
SAMPLE = 4096                                                           # numbers by which an activation is recognised


def watch(model, metrics=CHEAP, every=16, full_every=None, reduction="mean", keep=1024):
    """A context in which the training passes of ``model`` are measured; it gives their ``Record``.

    ``metrics``: the columns measured in every ``every``-th pass, names of ``records.COLUMNS``; all of them are
    measured in the first pass and in every ``full_every``-th. With the defaults an eager step of 784-128-10 with 64
    samples takes 8 % longer, with ``every=1`` 1.4 times as long. ``reduction`` is the cost's: with "mean"
    errors are those of one sample's cost, B times what arrives. ``keep``: the most passes that the record keeps.

    A pass is one forward and backward; passes without gradients are not seen. Activations that are no modules are
    recognised by their numbers. Modules that the first pass did not run are not layers of the record.

    Raises ``DTypeError`` for what is no Module, ``OptionError`` for arguments out of range and models without weights.

    >>> import numpy as np
    >>> from microgradx import Tensor, flow, nn
    >>> net = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Sigmoid(), nn.Linear(8, 2, rng=1))
    >>> with flow.watch(net) as record:
    ...     net(Tensor(np.ones((3, 4), np.float32))).square().mean().backward()
    >>> [str(layer) for layer in record.layers], record["error"].shape
    (['0 Linear[8, 4] sigmoid', '2 Linear[2, 8] linear'], (1, 2))
    """
    if not isinstance(model, Module):
        raise DTypeError(f"watch: a Module, not {type(model).__name__}")
    return Watch(model, metrics, every, full_every, reduction, keep)


class Watch:
    """The context of ``watch``. Per library ``tensor``, ``kept``, ``array`` and ``activation`` are overridden."""

    def __init__(self, model, metrics=CHEAP, every=16, full_every=None, reduction="mean", keep=1024):
        if isinstance(metrics, str) or any(name not in COLUMNS for name in metrics):
            raise OptionError(f"watch: metrics are some of {', '.join(COLUMNS)}, not {metrics!r}")
        for name, value in (("every", every), ("full_every", full_every)):
            if isinstance(value, bool) or not isinstance(value, int | None) or value is not None and value < 1:
                raise OptionError(f"watch: {name} is an integer >= 1, not {value!r}")
        if reduction not in ("mean", "sum"):
            raise OptionError(f"watch: reduction is 'mean' or 'sum', not {reduction!r}")
        self.model, self.record, self.mean = model, Record(keep), reduction == "mean"
        self.every, self.full_every, self.chosen, self.all = every or 1, full_every, _staged(metrics), _staged(COLUMNS)
        self.step, self.handles, self.at_weights, self.names, self.places, self.known = 0, [], [], {}, {}, {}
        self._begin()

    # ----- what another library has differently ------------------------------------------------------------------

    def tensor(self, output):
        """The tensor with a gradient in what a module takes or gives, or None."""
        output = output[0] if isinstance(output, tuple) and output else output
        return output if isinstance(output, Tensor) and output.requires_grad else None

    def kept(self, z):
        """``z`` as it is read when its gradient arrives."""
        return z

    def array(self, tensor):
        """Its numbers, without a copy where that can be."""
        return np.asarray(tensor.detach())

    def activation(self, module):
        """What a module applies to each number, as an ``Activation``; None for what is not elementwise."""
        return elementwise(module)

    # ----- the context -------------------------------------------------------------------------------------------

    def __enter__(self):
        if self.handles or self.at_weights:
            raise OptionError("watch: it is on already")
        hooks, weights = [], []
        for name, module in self.model.named_modules():
            weight = weight_of(module)
            self.names[id(module)] = name or type(module).__name__
            if weight is None and next(iter(module.children()), None) is None:
                hooks.append((module.register_forward_hook, self._see_other))
            elif weight is not None:
                hooks.append((module.register_forward_hook, self._see_layer))
                if weight.requires_grad:
                    weights.append((weight.register_hook, functools.partial(self._at_gradient, module)))
        if not any(hook == self._see_layer for _, hook in hooks):
            raise OptionError(f"watch: {type(self.model).__name__} has no module with a weight")
        hooks.append((self.model.register_forward_hook, self._see_end))
        try:
            for handles, each in ((self.handles, hooks), (self.at_weights, weights)):
                for register, hook in each:
                    handles.append(register(hook))
        except BaseException:
            self._remove_hooks()
            raise
        return self.record

    def __exit__(self, *exc):
        try:
            self._finish()
        finally:
            self._remove_hooks()

    def _remove_hooks(self):
        for handle in self.handles + self.at_weights:
            handle.remove()
        self.handles, self.at_weights = [], []

    # ----- a pass begins and ends --------------------------------------------------------------------------------

    def _begin(self):
        self.traces, self.made, self.calls, self.values, self.before = [], {}, {}, {}, {}
        self.ended = self.ran = False
        self.full = self.step == 0 or self.full_every is not None and self.step % self.full_every == 0
        self.columns = self.all if self.full else self.chosen
        self.measured = self.full or self.step % self.every == 0

    def _finish(self):
        """See what the update did to the weights; then the numbers of the pass go to the record."""
        if self.values:
            self.record.layers = self.record.layers or [trace.layer for trace in self.traces]
            for place, (module, before) in self.before.items():
                self._take(place, Trace(self._read, before=before, weight=module), self.columns[2])
            rows = [self.values.get(place, {}) for place in range(len(self.record.layers))]
            names = [name for stage in self.columns for name in stage]
            self.record.add(self.step, dict(zip(names, np.array([[row.get(name, math.nan) for row in rows]
                                                                 for name in names]))), self.full)
        for trace in self.traces:
            trace.clear()
            for handle in trace.handles:                                        # else a cycle, until a collection
                handle.remove()
        if self.values and not (self.full_every or self.chosen[1] or self.chosen[2]):
            for handle in self.at_weights:                                      # no further pass asks for them
                handle.remove()
            self.at_weights = []
        self.step += self.ran or not self.measured and self.ended
        self._begin()

    def _take(self, place, trace, columns):
        self.values.setdefault(place, {}).update(trace.measure(columns))

    def _read(self, name, form):
        """What was seen as an array: rows are samples; a weight is that of the module."""
        if name in ("grad", "weight", "before"):
            array = self.array(weight_of(form)) if name == "weight" else form
            return array if array.ndim > 1 else array[None]
        array = self.array(form)
        return as_rows(array, False) if array.dtype.kind == "f" else None       # what is embedded is no signal

    def _read_channels_first(self, name, form):
        return self._read(name, form) if name == "weight" else as_rows(self.array(form), True)

    # ----- forward: what belongs together ------------------------------------------------------------------------

    def _see_layer(self, module, args, output):
        if not (self.measured or self.ended):
            return
        z = self.tensor(output)
        if z is None:
            return
        if self.ended or self.ran:
            self._finish()
            if not self.measured:
                return
        if type(module).__name__ == "PReLU" and id(args[0]) in self.made:
            self._see_other(module, args, output)
            return
        below = self._below(args[0])
        if below is not None and "a" not in below.seen:                         # nothing lies between
            self._bind(below, below.seen["z"], activation("linear"))
        call = self.calls[id(module)] = self.calls.get(id(module), -1) + 1
        if not self.record.layers:
            self.places[id(module), call] = len(self.traces)
        if (id(module), call) not in self.places:
            return
        first = type(module).__name__.startswith(CHANNELS_FIRST)
        trace = Trace(self._read_channels_first if first else self._read, x=args[0], z=self.kept(z), weight=module)
        trace.place, trace.samples = self.places[id(module), call], len(z) if self.mean else 1
        trace.layer = self.record.layers[trace.place] if self.record.layers else self._described(module, call, trace)
        trace.activation = trace.layer.activation
        self.traces.append(trace)
        self.made[id(z)] = trace, z
        trace.handles = [z.register_hook(functools.partial(self._at_error, trace))]

    def _described(self, module, call, trace):
        name, kind, bias = self.names[id(module)], type(module).__name__, getattr(module, "bias", None)
        weight = self.array(weight_of(module))
        dense = weight.ndim > 1 and trace["x"] is not None and (
            weight.shape[:2] == (trace["z"].shape[1], trace["x"].shape[1]))
        scale = theory.scale(weight, None if bias is None else self.array(bias)) if dense else None
        return Layer(f"{name}[{call}]" if call else name, kind, tuple(weight.shape), None, scale)

    def _below(self, x):
        """The trace of which ``x`` is z or a; an activation that was no module is recognised now."""
        if id(x) not in self.made and self.traces and self.tensor(x) is not None:
            trace = self.traces[-1]
            if "a" not in trace.seen and x.shape == trace.seen["z"].shape:
                phi = trace.activation or recognised(trace["z"], trace.read("a", x))
                if phi is not None:
                    self._bind(trace, x, phi)
        return self.made.get(id(x), (None,))[0]

    def _see_other(self, module, args, output):
        if not self.made:
            return
        a, (trace, _) = self.tensor(output), self.made.get(id(args[0]) if args else None, (None, None))
        if a is None or trace is None:
            return
        self.made[id(a)] = trace, a
        if "a" not in trace.seen and a.shape == args[0].shape and not type(module).__name__.startswith(PASSING):
            if id(module) not in self.known:
                find = self.activation if weight_of(module) is None else self._prelu
                self.known[id(module)] = find(module)
            self._bind(trace, a, self.known[id(module)])

    def _prelu(self, module):
        """The one activation with a weight, as that stands when a slope is asked for."""
        phi = elementwise(lambda x: x.prelu(Tensor(self.array(weight_of(module)))))
        if phi:
            phi.name = "prelu"
        return phi

    def _bind(self, trace, a, phi):
        """``a``, a tensor, is phi of the trace's z."""
        trace.seen["a"], trace.activation, layer = a, phi, trace.layer
        if layer.activation is None and phi is not None:
            layer.activation, layer.scale = phi, layer.scale and layer.scale._replace(activation=phi)
        if a is not trace.seen["z"]:
            self.made[id(a)] = trace, a
            trace.handles.append(a.register_hook(functools.partial(self._at_activation, trace)))

    def _see_end(self, module, args, output):
        """The last layer's activation, if it was no module: that of the net's output."""
        out = self.tensor(output)
        if out is None:
            return
        self.ended = True
        if self.measured and self.traces:
            trace = self._below(out)
            if trace is not None and "a" not in trace.seen:
                self._bind(trace, trace.seen["z"], activation("linear"))

    # ----- backward: the numbers ---------------------------------------------------------------------------------

    def _at_activation(self, trace, g):
        if "z" in trace.seen:
            trace.seen["g"] = g

    def _at_error(self, trace, g):
        seen = trace.seen
        if "z" not in seen:                                                     # a second pass over the same graph
            return
        self.ran, seen["delta"] = True, g
        if seen.get("a") is seen["z"]:
            seen["g"] = g
        self._take(trace.place, trace, self.columns[0])
        numbers = self.values[trace.place]
        for name in ERRORS:
            if name in numbers:
                numbers[name] *= trace.samples
        trace.clear()
        self.made.clear()

    def _at_gradient(self, module, g):
        if not self.measured:
            return
        place = self.places.get((id(module), 0))
        if place is None or not (self.columns[1] or self.columns[2]):
            return
        weight = self.array(weight_of(module))
        if weight.ndim > 1:
            self._take(place, Trace(self._read, grad=self.array(g), weight=module), self.columns[1])
        if self.columns[2]:
            self.before[place] = module, weight.copy()


def _staged(metrics):
    """The columns by when their arrays are complete: with delta, with the weight's gradient, after the update."""
    needs = {name: COLUMNS[name][1] for name in metrics}
    after = [name for name in needs if "before" in needs[name]]
    gradient = [name for name in needs if "grad" in needs[name]]
    return [name for name in needs if name not in after + gradient], gradient, after


def weight_of(module):
    """A module's own parameter that maps its input: its first matrix, else its first parameter, else None."""
    own = [p for p in (getattr(module, name) for name in module._parameters) if p is not None]
    return next((p for p in own if p.ndim > 1), own[0] if own else None)


def as_rows(array, channels_first):
    """(B, ...) with units along the last axis, or axis 1 -> (samples, units)."""
    if array.ndim == 2:
        return array
    if array.ndim > 2 and channels_first:
        array = np.moveaxis(array, 1, -1)
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def elementwise(function):
    """``function`` as an ``Activation``, or None for what is none."""
    try:
        return Activation(function)
    except (Error, ValueError, TypeError, IndexError, RuntimeError):
        return None


def recognised(z, a):
    """The activation phi of the table with phi(z) = a, or None."""
    z, a = z.ravel()[:SAMPLE], a.ravel()[:SAMPLE]
    slack = 8 * np.finfo(a.dtype).eps
    for phi in map(activation, ["linear", *(name for name in F.ACTIVATIONS if "softmax" not in name)]):
        if np.allclose(phi(z), a, rtol=slack, atol=slack, equal_nan=True):
            return phi
    return None
