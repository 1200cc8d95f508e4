"""Types: stubs of compiled modules say what is there, modules in Python are annotated, and mypy finds no fault."""
import ast
import importlib
import inspect
import runpy
import subprocess
import sys
import types
import typing
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

import microgradx as mgx
from microgradx import functional, nn, optim
from microgradx._core.public import Public
from microgradx.names import ALIASES
from microgradx._core import launch

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(mgx.__file__).parent
CORE = sorted(path.name.split(".")[0] for path in (PACKAGE / "_core").glob("*.p*") if path.suffix in (".pyi", ".pyx"))
MODULES = sorted({f"_core.{name}" for name in CORE})
INSTRUMENTS = ("cli", "demo", "flow", "lab", "__main__")        # they call what they are
PLAIN = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))
         if path.relative_to(PACKAGE).with_suffix("").parts[0] not in INSTRUMENTS}

# what every compiled class has, or what says nothing to a type checker
IMPLIED = {"__new__", "__repr__", "__str__", "__reduce__", "__setstate__", "__delitem__", "__doc__", "__module__",
           "__dict__", "__weakref__", "__buffer__", "__release_buffer__", "__slotnames__"}    # the last by copyreg


def path_of(name):
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".pyi")


def stub(name):
    """{name: its definitions} of a stub; those of a class are a dict again."""
    return definitions(ast.parse(path_of(name).read_text()).body)


def definitions(body):
    found = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = definitions(node.body)
        elif isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) != "TypeAlias":
            found[node.target.id] = [node]
    return found


def public(names):
    return {name for name in names if not name.startswith("_")}


def own(module):
    return [name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == module.__name__]


def value(default):
    found = ast.literal_eval(default)
    return ANY if found is ... else found


def parameters(function):
    """(name, kind, default) of each parameter in a stub; ``...`` is a default that is no literal."""
    a, kind = function.args, inspect.Parameter
    listed = [*a.posonlyargs, *a.args]
    missing = [kind.empty] * (len(listed) - len(a.defaults))
    defaults = missing + [value(d) for d in a.defaults]
    found = [(p.arg, kind.POSITIONAL_ONLY if p in a.posonlyargs else kind.POSITIONAL_OR_KEYWORD, d)
             for p, d in zip(listed, defaults)]
    found += [(a.vararg.arg, kind.VAR_POSITIONAL, kind.empty)] if a.vararg else []
    found += [(p.arg, kind.KEYWORD_ONLY, kind.empty if d is None else value(d))
              for p, d in zip(a.kwonlyargs, a.kw_defaults)]
    return found + ([(a.kwarg.arg, kind.VAR_KEYWORD, kind.empty)] if a.kwarg else [])


def is_property(node):
    return isinstance(node, ast.AnnAssign) or any(ast.unparse(d) == "property" for d in node.decorator_list)


def same_parameters(where, real, nodes, method=False):
    truth = [(p.name, p.kind, p.default) for p in inspect.signature(real).parameters.values()]
    stubbed = [parameters(node)[method:] for node in nodes]
    assert truth in stubbed, f"{where}{inspect.signature(real)}: the stub has other parameters"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_stub(name):
    module, stubbed = importlib.import_module(f"microgradx.{name}"), public(stub(name))
    real = public(own(module)) - {function.__name__ for function in launch.composites.values()}  # reached by their row
    constants = {word for word in stub(name) if isinstance(getattr(module, word, None), (frozenset, tuple, dict))}
    assert stubbed == real | constants


STUBBED = [name for name in MODULES if path_of(name).is_file()]
CLASSES = [(name, cls) for name in STUBBED for cls in stub(name)
           if inspect.isclass(getattr(importlib.import_module(f"microgradx.{name}"), cls, None))]


@pytest.mark.parametrize("name, cls", CLASSES)
def test_every_attribute_of_a_class_has_a_stub(name, cls):
    real, stubbed = getattr(importlib.import_module(f"microgradx.{name}"), cls), stub(name)[cls]
    assert public(vars(real)) == public(stubbed)
    special = {n for n in vars(real) if n.startswith("__") and n.endswith("__") and n != "__pyx_vtable__"}
    if not issubclass(real, tuple):
        assert special - IMPLIED <= set(stubbed)
    for n in stubbed:
        assert hasattr(real, n) and getattr(real, n) is not getattr(object, n, ...), f"{cls}.{n} is not there"
        if n in public(stubbed):
            assert callable(getattr(real, n)) != is_property(stubbed[n][0]), f"{cls}.{n}: a method or an attribute?"


FUNCTIONS = [(name, function) for name in STUBBED for function in sorted(public(stub(name)))
             if (name, function) not in CLASSES]
METHODS = [(name, cls, method) for name, cls in CLASSES for method, nodes in stub(name)[cls].items()
           if isinstance(nodes[0], ast.FunctionDef) and not is_property(nodes[0])
           and type(getattr(getattr(importlib.import_module(f"microgradx.{name}"), cls), method)).__name__
           == "cython_function_or_method"]


@pytest.mark.parametrize("name, function", FUNCTIONS)
def test_parameters_of_functions(name, function):
    nodes, method = stub(name)[function], False
    if isinstance(nodes[0], ast.AnnAssign) and not isinstance(nodes[0].annotation, ast.Name):     # a constant
        return
    if isinstance(nodes[0], ast.AnnAssign):             # a protocol, which many functions share
        nodes, method = stub(name)[nodes[0].annotation.id]["__call__"], True
    real = getattr(importlib.import_module(f"microgradx.{name}"), function)
    same_parameters(function, real, nodes, method)


@pytest.mark.parametrize("name, cls, method", METHODS)
def test_parameters_of_methods(name, cls, method):
    real = getattr(getattr(importlib.import_module(f"microgradx.{name}"), cls), method)
    same_parameters(f"{cls}.{method}", real, stub(name)[cls][method])


# ----- modules in Python -------------------------------------------------------------------------------------------

def functions(body, prefix=""):
    """(dotted name, node) of the functions and methods in a module or class."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, (ast.If, ast.Try)):
            yield from functions([*node.body, *node.orelse], prefix)


def is_public(name):
    return not any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


@pytest.mark.parametrize("path", PLAIN, ids=PLAIN.get)
def test_every_public_function_is_annotated(path):
    for name, node in functions(ast.parse(path.read_text()).body):
        static = any(ast.unparse(d) == "staticmethod" for d in node.decorator_list)
        a = node.args
        taken = [*a.posonlyargs, *a.args][bool("." in name and not static):] + a.kwonlyargs
        taken += [p for p in (a.vararg, a.kwarg) if p is not None]
        if is_public(name) and name != "__getattr__":
            assert node.returns is not None, f"{name} does not say what it returns"
            assert all(p.annotation is not None for p in taken), f"{name} takes what it does not annotate"


@pytest.mark.parametrize("name", [name for name in PLAIN.values() if not name.endswith("__init__")])
def test_annotations_can_be_evaluated(name):
    """What they name can be found at run time, by tools that look there."""
    module = importlib.import_module(f"microgradx.{name}")
    for thing in map(vars(module).get, own(module)):
        if inspect.isclass(thing):
            methods = [getattr(method, "__func__", method) for method in vars(thing).values()]
            [typing.get_type_hints(method) for method in methods
             if isinstance(method, (types.FunctionType, Public)) and method.__module__ == module.__name__]
        elif isinstance(thing, (types.FunctionType, Public)):
            typing.get_type_hints(thing)


def test_no_stub_stands_beside_a_module_in_python():
    assert {path for path in PACKAGE.rglob("*.pyi") if path.with_suffix(".py").is_file()} == set()
    assert {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.pyi")} == {"_core"}


def test_functions_that_are_made_from_tables_have_types():
    made = functional._ELEMENTWISE + functional._REDUCTIONS + functional._OF_TENSORS + [*ALIASES]
    assert set(functional.__all__) == set(made) == public(functional.__annotations__)
    kinds = definitions(next(node for node in ast.parse(Path(functional.__file__).read_text()).body
                             if isinstance(node, ast.If)).body)
    for name in made:
        real = getattr(functional, name)
        truth = [*inspect.signature(real).parameters.values()][1:]
        taken = [parameters(node)[2:] for node in kinds[functional.__annotations__[name]]["__call__"]]
        assert [(p.name, p.kind, p.default) for p in truth] in taken, name


def test_packages_hand_on_all_of_their_modules():
    every = [nn.attention, nn.containers, nn.convolution, nn.layers, nn.losses, nn.module, nn.normalization, nn.padding,
             nn.parameter, nn.recurrent, nn.resampling, nn.transformer]
    assert set(nn.__all__) == {"functional", "init", "parameter", "utils",
                               *(name for module in every for name in module.__all__)}
    every = [optim.clip, optim.optimizers, optim.schedulers]
    assert set(optim.__all__) == {"LBFGS", "lr_scheduler", "scipy_minimize", "swa_utils",
                                  *(name for module in every for name in module.__all__)}
    own_ones = {name for name in own(nn.functional) if name in nn.functional.__all__}
    assert set(nn.functional.__all__) == own_ones | {
        *nn.activations.__all__, *nn.costs.__all__, *nn.margins.__all__, *nn.convolution.FUNCTIONS,
        *nn.normalization.FUNCTIONS, *nn.padding.FUNCTIONS, *nn.resampling.FUNCTIONS}
    assert {"dropout", "embedding", "linear", "one_hot", "prelu", "scaled_dot_product_attention"} < own_ones


def test_losses_take_what_their_functions_take():
    """With the same defaults."""
    for name, function in nn.losses.LOSSES.items():
        options = [*inspect.signature(getattr(nn, name).__init__).parameters.values()][1:]
        theirs = inspect.signature(getattr(nn.functional, function)).parameters.values()
        assert [(p.name, p.kind, p.default) for p in options] == [
            (p.name, p.kind, p.default) for p in theirs if p.default is not p.empty], name


def test_activations_take_what_their_functions_take():
    for name, function in nn.layers.MODULES.items():
        options = [*inspect.signature(getattr(nn, name).__init__).parameters.values()][1:]
        theirs = inspect.signature(getattr(nn.functional, function)).parameters
        assert ("inplace" in theirs) == any(p.name == "inplace" for p in options)
        options = {p.name: p.default for p in options if p.name != "inplace"}
        assert options == nn.functional.ACTIVATIONS[function], name


def test_the_tests_see_something():
    assert len(PLAIN) > 35
    assert len(CLASSES) >= 8 and len(FUNCTIONS) >= 25 and len(METHODS) > 140
    assert ("_core.tensor", "Tensor", "sum") in METHODS and ("_core.ops", "Differentiable", "where") in METHODS


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_the_program_runs(tmp_path):
    program = runpy.run_path(str(Path(__file__).parent / "typing" / "program.py"))
    assert program["tensors"](np.eye(3)) > 0 and program["values"]() > 0
    assert program["training"](str(tmp_path / "file")) > 0.7


@pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="the settings are the source's")
@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.4.0", reason="NumPy's annotations were others before")
def test_mypy(tmp_path):
    """The package, a program that a user might write, and mistakes that must be found; settings in pyproject.toml."""
    pytest.importorskip("mypy")
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
