"""micrograd's ``Neuron``, ``Layer`` and ``MLP`` on ``Value``, with one node per weighted sum.

The same constructors, attributes, order of parameters and draws from Python's ``random`` as micrograd's, so the
same ``random.seed`` gives the same net and the same numbers; only the graph has fewer nodes.
"""
import random
from collections.abc import Iterable, Sequence
from typing import Any

from microgradx._core.value import Value, dot
from microgradx.names import make_public

__all__ = ["Layer", "MLP", "Module", "Neuron"]


class Module:
    """Something with parameters."""

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        for p in self.parameters():
            p.grad = 0

    def parameters(self) -> list[Value]:
        """All parameters, a list."""
        return []


class Neuron(Module):
    """relu(w . x + b), or w . x + b without ``nonlin``; w ~ U(-1, 1), b = 0.

    >>> from microgradx import scalar
    >>> neuron = scalar.Neuron(2)
    >>> neuron, len(neuron.parameters())
    (ReLUNeuron(2), 3)
    """

    def __init__(self, nin: int, nonlin: bool = True) -> None:
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin

    def __call__(self, x: Iterable[Value | float]) -> Value:
        return self.fire([1.0, *x])

    def fire(self, x: Iterable[Value | float]) -> Value:
        """The output for inputs that begin with 1, which b is the weight of: so b comes first, as micrograd adds."""
        out = dot([self.b, *self.w], x)
        return out.relu() if self.nonlin else out

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]

    def __repr__(self) -> str:
        return f"{'ReLU' if self.nonlin else 'Linear'}Neuron({len(self.w)})"


class Layer(Module):
    """``nout`` neurons with the same inputs; a layer of one gives its output, not a list."""

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        self.neurons = [Neuron(nin, **kwargs) for _ in range(nout)]

    def __call__(self, x: Iterable[Value | float]) -> Any:
        x = [1.0, *x]
        out = [neuron.fire(x) for neuron in self.neurons]
        return out[0] if len(out) == 1 else out

    def parameters(self) -> list[Value]:
        return [p for neuron in self.neurons for p in neuron.parameters()]

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(str, self.neurons))}]"


class MLP(Module):
    """``nin`` inputs and layers of ``nouts`` neurons, ReLU in all but the last.

    >>> from microgradx import scalar
    >>> net = scalar.MLP(2, [4, 1])
    >>> y = net([0.5, -1.0])
    >>> y.backward()
    >>> len(net.parameters()), net.parameters()[-1].grad
    (17, 1.0)
    """

    def __init__(self, nin: int, nouts: Sequence[int]) -> None:
        sizes = [nin, *nouts]
        self.layers = [Layer(sizes[i], sizes[i + 1], nonlin=i != len(nouts) - 1) for i in range(len(nouts))]

    def __call__(self, x: Iterable[Value | float]) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(str, self.layers))}]"


make_public(__name__)
