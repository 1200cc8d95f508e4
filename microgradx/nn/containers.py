"""Containers: modules and parameters by number or by name."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, Error, IndexError_, KeyError_, ShapeError, described
from microgradx.names import make_public
from microgradx.nn.module import Module
from microgradx.nn.parameter import Parameter
from microgradx.typing import Data

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def modules_of(container: Module, others: Any) -> list[Module]:
    """What is added to a container: an iterable of modules."""
    if not hasattr(others, "__iter__") or isinstance(others, str):
        raise DTypeError(f"{type(container).__name__}: to it several modules are added, not {described(others)}; "
                         "append takes one")
    return list(others)


class _Modules(Module):
    """What containers of modules share."""

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def _module(self, at: int | str, module: Any) -> Module:
        if not isinstance(module, Module):
            raise DTypeError(f"{type(self).__name__}: position {at} is a Module, not {type(module).__name__}"
                             + (" (make an instance: Name())" if isinstance(module, type) else
                                " of torch; flow.diagnose takes modules of torch as they are"
                                if type(module).__module__.startswith("torch.") else ""))
        return module


class ModuleList(_Modules):
    """Modules by number, called by whoever holds them: their parameters are found, which those in a list are not.

    >>> from microgradx import nn
    >>> blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
    >>> [name for name, _ in blocks.append(nn.Tanh()).named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(() if modules is None else modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __contains__(self, module: object) -> bool:
        return any(module is child for child in self.children())

    def __getitem__(self, at: Any) -> Any:
        modules = list(self.children())
        return type(self)(modules[at]) if isinstance(at, slice) else modules[self._position(at)]

    def __setitem__(self, at: int, module: Module) -> None:
        setattr(self, list(self._modules)[self._position(at)], self._module(at, module))

    def __delitem__(self, at: int | slice) -> None:
        modules = list(self.children())
        del modules[at if isinstance(at, slice) else self._position(at)]
        self._refill(modules)

    def _position(self, at: int) -> int:
        """``at``, which is the number of a module, counted from the end if it is negative."""
        if not -len(self) <= at < len(self):
            raise IndexError_(f"{type(self).__name__}: no module {at} among {len(self)}")
        return at

    def __add__(self, other: Iterable[Module]) -> Any:
        return type(self)([*self, *modules_of(self, other)])

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        number = len(self)
        while str(number) in self._modules:         # a slice of a Sequential keeps its names
            number += 1
        setattr(self, str(number), self._module(number, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Add a module before position ``index``; those behind it get the next numbers."""
        modules = list(self.children())
        modules.insert(index, self._module(index, module))
        self._refill(modules)

    def pop(self, index: int = -1) -> Module:
        """Take the module at ``index`` out; returns it."""
        module: Module = self[index]
        del self[index]
        return module

    def __repr__(self) -> str:
        """Neighbours that look alike share a line."""
        rows: list[tuple[list[str], str]] = []
        for name, child in self.named_children():
            if rows and rows[-1][1] == repr(child):
                rows[-1][0].append(name)
            else:
                rows.append(([name], repr(child)))
        lines = [f"({names[0]}): {text}" if len(names) == 1 else f"({names[0]}-{names[-1]}): {len(names)} x {text}"
                 for names, text in rows]
        return "\n  ".join([f"{type(self).__name__}(", *(x.replace("\n", "\n  ") for x in lines)]) + (
            "\n)" if lines else ")")

    def _refill(self, modules: Iterable[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        ModuleList.extend(self, modules)


class ModuleDict(_Modules):
    """Modules by name, called by whoever holds them: ``d["name"]``, and a dict's methods.

    >>> from microgradx import nn
    >>> heads = nn.ModuleDict({"left": nn.Linear(2, 3), "right": nn.Linear(2, 1)})
    >>> list(heads), heads["right"]
    (['left', 'right'], Linear(in_features=2, out_features=1, bias=True))
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        self.update(() if modules is None else modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._known(key))

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, self._module(key, module))

    def __delitem__(self, key: str) -> None:
        delattr(self, self._known(key))

    def _known(self, key: str) -> str:
        if key not in self._modules:
            raise KeyError_(f"ModuleDict: no module is called {key!r}; there are {', '.join(self) or 'none'}")
        return key

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return list(self.children())

    def items(self) -> Iterable[tuple[str, Module]]:
        """(name, module) in the order in which they were added."""
        return list(self.named_children())

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or replace those of the same names: a dict, a ``ModuleDict``, or pairs."""
        pairs: Any = modules.items() if hasattr(modules, "items") else modules
        for key, module in pairs:
            self[key] = module

    def pop(self, key: str) -> Module:
        """Take the module called ``key`` out; returns it."""
        module: Module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for key in list(self):
            del self[key]


MISFITS = (ShapeError, DTypeError)          # what a layer raises that does not fit what comes before it


def _named(error: Error, name: str, module: Module, x: Any) -> Error:
    """The error with the layer that raised it, by its dotted name."""
    at, kind, given, text = getattr(error, "layer", None) or (
        "", repr(module) if not module._modules else type(module).__name__,
        f"{x.dtype} of shape {x.shape}" if isinstance(x, Tensor) else described(x), str(error))
    at = f"{name}.{at}" if at else name
    named = type(error)(f"Sequential: layer {at}, {kind}, got {given}: {text}")
    named.layer = at, kind, given, text                                     # type: ignore[attr-defined]
    return named


class Sequential(ModuleList):
    """Modules applied one after the other.

    ``net[i]`` is a module, ``net[i:j]`` a Sequential of the same modules under the same names. A dict names them.

    >>> from microgradx import nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> len(net), net[1], net[-1]
    (3, Tanh(), Linear(in_features=4, out_features=2, bias=True))
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else dict(enumerate(modules))
        for name, module in named.items():
            setattr(self, str(name), self._module(name, module))

    def forward(self, input: Any) -> Any:
        attributes, x = self.__dict__, input
        for name in self._modules:
            try:
                x = attributes[name](x)
            except MISFITS as error:
                raise _named(error, name, attributes[name], x).with_traceback(error.__traceback__) from None
        return x

    def __getitem__(self, at: Any) -> Any:
        return (Sequential(dict(list(self.named_children())[at])) if isinstance(at, slice) else
                super().__getitem__(at))

    def __add__(self, other: Iterable[Module]) -> Any:
        return Sequential(*self, *modules_of(self, other))

    __repr__ = Module.__repr__

    def insert(self, index: int, module: Module) -> Any:
        """Add a module before position ``index``; those behind it get the next numbers. Returns the container."""
        super().insert(index, module)
        return self


# ----- parameters ----------------------------------------------------------------------------------------------------

class ParameterList(Module):
    """Parameters by number: ``ps[i]``, ``len``, a loop over them, ``append`` and ``extend``.

    A Tensor that is added becomes a parameter, as by ``nn.Parameter``.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> ps = nn.ParameterList([nn.Parameter([1.0]), mgx.Tensor([2.0])])
    >>> [name for name, _ in ps.append(nn.Parameter([3.0])).named_parameters()]
    ['0', '1', '2']
    """

    def __init__(self, values: Iterable[Data] | None = None) -> None:
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, name) for name in list(self._parameters))

    def __getitem__(self, at: Any) -> Any:
        found = list(self)[at]
        return ParameterList(found) if isinstance(at, slice) else found

    def __setitem__(self, at: int, value: Data) -> None:
        self.register_parameter(list(self._parameters)[at], _as_parameter(value))

    def append(self, value: Data) -> Self:
        """Add a parameter at the end; returns the list."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Data]) -> Self:
        """Add parameters at the end; returns the list."""
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n  ".join(f"({name}): {_line(getattr(self, name))}" for name in self._parameters)


class ParameterDict(Module):
    """Parameters by name: ``ps["name"]``, and a dict's methods. A Tensor that is added becomes a parameter.

    >>> from microgradx import nn
    >>> ps = nn.ParameterDict({"left": nn.Parameter([1.0])})
    >>> ps["right"] = nn.Parameter([2.0])
    >>> list(ps.keys()), "left" in ps, len(ps)
    (['left', 'right'], True, 2)
    """

    def __init__(self, parameters: Mapping[str, Data] | Iterable[tuple[str, Data]] | None = None) -> None:
        self.update(() if parameters is None else parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._parameters))

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def __getitem__(self, key: str) -> Tensor:
        found: Tensor = getattr(self, self._known(key))
        return found

    def __setitem__(self, key: str, value: Data) -> None:
        self.register_parameter(key, _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        delattr(self, self._known(key))

    def _known(self, key: str) -> str:
        if key not in self._parameters:
            raise KeyError_(f"ParameterDict: no parameter is called {key!r}; there are {', '.join(self) or 'none'}")
        return key

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Tensor]:
        """The parameters."""
        return [self[key] for key in self]

    def items(self) -> Iterable[tuple[str, Tensor]]:
        """(name, parameter) in the order in which they were added."""
        return [(key, self[key]) for key in self]

    def update(self, parameters: Mapping[str, Data] | Iterable[tuple[str, Data]]) -> None:
        """Add parameters, or replace those of the same names: a dict, a ``ParameterDict``, or pairs."""
        pairs: Any = parameters.items() if hasattr(parameters, "items") else parameters
        for key, value in pairs:
            self[key] = value

    def pop(self, key: str) -> Tensor:
        """Take the parameter called ``key`` out; returns it."""
        value = self[key]
        del self[key]
        return value

    def extra_repr(self) -> str:
        return "\n  ".join(f"({name}): {_line(getattr(self, name))}" for name in self._parameters)


def _as_parameter(value: Data) -> Tensor:
    return value if isinstance(value, Parameter) else Parameter(value)


def _line(p: Tensor) -> str:
    return f"Parameter containing: [{p.dtype} of size {'x'.join(map(str, p.shape))}]"


make_public(__name__)
