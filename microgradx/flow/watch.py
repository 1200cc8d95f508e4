"""Watching a net while it trains: hooks that turn each pass into the numbers of a ``Record`` and keep nothing else.

A layer is a module with a weight of its own. Its output is z; what an activation makes of z is a. When the backward
pass arrives at z all arrays of the layer are known: its numbers are computed on the spot and the arrays let go. The
gradient of a weight is met by a hook on the weight; its update is seen when the next pass begins.
"""
import functools
import math

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError
from microgradx.flow import theory
from microgradx.flow.engines import engine_of
from microgradx.flow.engines.engine import PASSING
from microgradx.flow.quadrature import activation, elementwise
from microgradx.flow.records import CHEAP, COLUMNS, Layer, Record, Trace
from microgradx.nn import functional as F

__all__ = ["EVERY", "Watch", "staged"]

# Modules without a weight through which a pre-activation or an activation passes as what it is.
PASSES = ("Identity", "Flatten", "Unflatten", "Dropout", "MaxPool", "AvgPool", "AdaptiveAvgPool")
ERRORS = ("error", "error_after", "mean_error")                         # what counts per sample's cost
MOST = 64                                                               # operations between two layers that are read
EVERY = 16                                                              # of so many passes one is measured
SAMPLE = 4096                                                           # numbers by which an activation is recognised


class Watch:
    """The context of ``watch``, whichever library the model is of."""

    def __init__(self, model, metrics=CHEAP, every=EVERY, full_every=None, reduction="mean", keep=1024):
        self.engine = engine_of(model)
        if self.engine is None:
            raise DTypeError(f"watch: a Module of microgradx or torch, not {type(model).__name__}")
        if isinstance(metrics, str) or any(name not in COLUMNS for name in metrics):
            raise OptionError(f"watch: metrics are some of {', '.join(COLUMNS)}, not {metrics!r}")
        for name, value in (("every", every), ("full_every", full_every)):
            if isinstance(value, bool) or not isinstance(value, int | None) or value is not None and value < 1:
                raise OptionError(f"watch: {name} is an integer >= 1, not {value!r}")
        if reduction not in ("mean", "sum"):
            raise OptionError(f"watch: reduction is 'mean' or 'sum', not {reduction!r}")
        self.model, self.record, self.mean = model, Record(keep), reduction == "mean"
        self.every, self.full_every, self.chosen, self.all = every or 1, full_every, staged(metrics), staged(COLUMNS)
        self.step, self.handles, self.at_weights, self.names, self.places, self.known = 0, [], [], {}, {}, {}
        self.rewritten = set()                  # places of layers into whose output something is written later
        self._begin()

    # ----- the context -------------------------------------------------------------------------------------------

    def __enter__(self):
        if self.handles or self.at_weights:
            raise OptionError("watch: it is on already")
        hooks, weights = [], []
        for name, _, module in self._modules():
            weight = self.engine.weight(module)
            self.names[id(module)] = name
            if weight is None and next(iter(module.children()), None) is None:
                hooks.append((module, self._see_other))
            elif weight is not None:
                hooks.append((module, self._see_layer))
                if weight.requires_grad:
                    weights.append((weight, functools.partial(self._at_gradient, module)))
        if not any(hook == self._see_layer for _, hook in hooks):
            raise OptionError(f"watch: {type(self.model).__name__} has no module with a weight")
        hooks.append((self.model, self._see_end))
        try:
            for module, hook in hooks:
                self.handles.append(self.engine.hook_forward(module, hook))
            for weight, hook in weights:
                self.at_weights.append(weight.register_hook(hook))
        except BaseException:
            self._remove_hooks()
            raise
        return self.record

    def __exit__(self, *exc):
        try:
            self._finish()
        finally:
            self._remove_hooks()

    def _modules(self):
        """(name, kind, module) of all that is looked at."""
        return self.engine.modules(self.model)

    def _remove_hooks(self):
        for handle in self.handles + self.at_weights:
            handle.remove()
        self.handles, self.at_weights = [], []

    # ----- a pass begins and ends --------------------------------------------------------------------------------

    def begin_at(self, step):
        """Let the next pass count as that of a step."""
        self.step = step
        self._begin()

    def _begin(self):
        self.traces, self.nodes, self.made, self.calls, self.values, self.before = [], {}, {}, {}, {}, {}
        self.ended, self.ran, self.silent = False, False, []
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
            array = self.engine.array(self.engine.weight(form)) if name == "weight" else form
            return array if array.ndim > 1 else array[None]
        array = self.engine.array(form)
        return as_rows(array, False) if array.dtype.kind == "f" else None       # what is embedded is no signal

    def _read_channels_first(self, name, form):
        return self._read(name, form) if name == "weight" else as_rows(self.engine.array(form), True)

    # ----- forward: what belongs together ------------------------------------------------------------------------

    def _tensor(self, output):
        """The tensor with a gradient in what a module takes or gives, or None."""
        output = self.engine.first_tensor(output)
        return output if output is not None and output.requires_grad else None

    def _see_layer(self, module, args, output):
        if not (self.measured or self.ended):
            return
        z, x = self._tensor(output), self.engine.first_tensor(args)
        if z is None:
            if self.full and self.engine.weight(module).requires_grad:
                self.silent.append(self.names[id(module)])
            return
        if self.ended or self.ran:
            self._finish()
            if not self.measured:
                return
        if type(module).__name__ == "PReLU":
            if x is not None and self._sources(x)[0]:
                self._see_other(module, args, output)
                return
        self._look_below(x)
        call = self.calls[id(module)] = self.calls.get(id(module), -1) + 1
        if not self.record.layers:
            self.places[id(module), call] = len(self.traces)
        if (id(module), call) not in self.places:
            return
        first = self.engine.channels_first(module)
        place = self.places[id(module), call]
        kept = z.detach().clone() if not self.record.layers or place in self.rewritten else z
        trace = Trace(self._read_channels_first if first else self._read, x=x, z=kept, weight=module)
        trace.place, trace.samples = place, z.shape[0] if self.mean and z.ndim else 1
        trace.made, trace.version, trace.shape = z, self.engine.overwritten(z), z.shape
        trace.layer = self.record.layers[place] if self.record.layers else self._described(module, call, trace)
        trace.activation = trace.layer.activation
        self.traces.append(trace)
        self._remember(z, trace)
        trace.handles = [z.register_hook(functools.partial(self._at_error, trace))]

    def _remember(self, tensor, trace):
        node = self.engine.node(tensor)
        self.nodes[id(node)] = trace, node

    def _described(self, module, call, trace):
        name, kind, bias = self.names[id(module)], type(module).__name__, getattr(module, "bias", None)
        weight = self.engine.array(self.engine.weight(module))
        dense = weight.ndim > 1 and trace["x"] is not None and (
            weight.shape[:2] == (trace["z"].shape[1], trace["x"].shape[1]))
        bias = self.engine.array(bias) if self.engine.is_tensor(bias) else None
        scale = theory.scale(weight, bias) if dense else None
        stride = getattr(module, "stride", 1)
        after = ("stride",) if max(stride if isinstance(stride, tuple) else (stride,)) > 1 else ()
        return Layer(f"{name}[{call}]" if call else name, kind, tuple(weight.shape), None, scale, after,
                     units=math.prod(trace.shape[1:]))

    def _sources(self, tensor):
        """What a tensor was made of, read from the graph: (the traces behind it, the operations in between)."""
        start, traces, between, seen = self.engine.node(tensor), {}, [], set()
        waiting = [start] if start is not None else []
        while waiting and len(seen) < MOST:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if id(node) in self.nodes:
                trace = self.nodes[id(node)][0]
                traces[id(trace)] = trace
                continue
            name, below = self.engine.links(node)
            if name != "leaf":
                between.append((name, node))
                waiting += below
        return list(traces.values()) if not waiting else [], between

    def _look_below(self, x):
        """Say of each layer behind ``x`` what was done to its z; an activation that was no module is found here."""
        if x is None or not x.requires_grad or not self.traces:
            return
        traces, between = self._sources(x)
        names = [name for name, _ in between]
        for trace in traces:
            if not self.record.layers:
                trace.layer.after = tuple(dict.fromkeys((*trace.layer.after, *names, *["join"] * (len(traces) > 1))))
        if len(traces) > 1 and not self.record.layers:
            max(traces, key=lambda trace: trace.place).layer.branch = True
        if len(traces) != 1 or traces[0].bound:
            return
        trace, = traces
        work = [(name, node) for name, node in between if name not in PASSING]
        if not work:
            self._bind(trace, x if not between else None, trace.activation or activation("linear"))
        elif trace.activation is not None:
            self._bind(trace, x if x.shape == trace.shape else None, trace.activation)
        else:
            phi = self.engine.activation_at(work[0][1]) if len(work) == 1 else None
            same = x.shape == trace.shape
            if same:
                numbers = trace["z"], trace.read("a", x)
                if phi is None or not _agree(phi, *numbers):
                    phi = recognised(*numbers) if phi is None else recognised(*numbers) or phi
            self._bind(trace, x if same and len(between) == len(work) else None, phi)

    def _see_other(self, module, args, output):
        a = self._tensor(output)
        if a is None or not self.traces or not self.measured:
            return
        node = self.engine.node(a)
        self.made.setdefault(id(node), (node, module))              # not what hands it on
        traces, between = self._sources(a)
        if len(traces) != 1 or traces[0].bound or type(module).__name__.startswith(PASSES):
            return
        trace, = traces
        if a.shape == trace.shape:
            if id(module) not in self.known:
                self.known[id(module)] = (self.engine.activation if self.engine.weight(module) is None
                                          else self._prelu)(module) or (
                    self.engine.activation_at(between[0][1]) if len(between) == 1 else None)
            self._bind(trace, a, self.known[id(module)])

    def _prelu(self, module):
        """The one activation with a weight, as that stands when a slope is asked for."""
        phi = elementwise(lambda x: x.prelu(Tensor(self.engine.array(self.engine.weight(module)))))
        if phi:
            phi.name = "prelu"
        return phi

    def _bind(self, trace, a, phi):
        """``a``, a tensor or None for one that no module saw, is phi of the trace's z."""
        trace.bound, trace.activation, layer = True, phi, trace.layer
        if layer.activation is None and phi is not None:
            layer.activation, layer.scale = phi, layer.scale and layer.scale._replace(activation=phi)
        if a is None:
            return
        if self.engine.node(a) is self.engine.node(trace.made) and phi is not None and phi.name == "linear":
            trace.seen["a"] = trace.seen["z"]
            return
        trace.seen["a"] = a
        self._remember(a, trace)
        trace.handles.append(a.register_hook(functools.partial(self._at_activation, trace)))

    def _see_end(self, module, args, output):
        """The last layer's activation, if it was no module: that of the net's output."""
        out, silent, self.silent = self._tensor(output), self.silent, []
        if out is None:
            return
        self.ended = True
        self.record.detached += [name for name in silent if name not in self.record.detached]
        if self.measured and self.traces:
            self._look_below(out)
            for trace in self.traces:
                if self.engine.overwritten(trace.made) != trace.version:
                    self.rewritten.add(trace.place)
                trace.made = None

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
        self.nodes.clear()
        self.made.clear()

    def _at_gradient(self, module, g):
        if not self.measured:
            return
        place = self.places.get((id(module), 0))
        if place is None or not (self.columns[1] or self.columns[2]):
            return
        weight = self.engine.array(self.engine.weight(module))
        if weight.ndim > 1:
            self._take(place, Trace(self._read, grad=self.engine.array(g), weight=module), self.columns[1])
        if self.columns[2]:
            self.before[place] = module, weight.copy()


def staged(metrics):
    """The columns by when their arrays are complete: with delta, with the weight's gradient, after the update."""
    needs = {name: COLUMNS[name][1] for name in metrics}
    after = [name for name in needs if "before" in needs[name]]
    gradient = [name for name in needs if "grad" in needs[name]]
    return [name for name in needs if name not in after + gradient], gradient, after


def as_rows(array, channels_first):
    """(B, ...) with units along the last axis, or axis 1 -> (samples, units)."""
    if array.ndim == 2:
        return array
    if array.ndim > 2 and channels_first:
        array = np.moveaxis(array, 1, -1)
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def _agree(phi, z, a):
    """Is a = phi(z), up to rounding?"""
    z, a = z.ravel()[:SAMPLE], a.ravel()[:SAMPLE]
    slack = 8 * np.finfo(a.dtype).eps
    return np.allclose(phi(z), a, rtol=slack, atol=slack, equal_nan=True)


def recognised(z, a):
    """The activation phi of the table with phi(z) = a, or None."""
    return next((phi for phi in map(activation, ["linear", *(name for name in F.ACTIVATIONS if "softmax" not in name)])
                 if _agree(phi, z, a)), None)
