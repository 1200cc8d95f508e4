"""The stubs say what is there: every public name, its parameters and defaults; and mypy finds no fault with them."""
import ast
import importlib
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

import microgradx as mgx

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(mgx.__file__).parent
CORE = sorted(path.name.split(".")[0] for path in (PACKAGE / "_core").glob("*.p*") if path.suffix in (".pyi", ".pyx"))
LISTED = sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts)         # in Python: they have an __all__
                for path in PACKAGE.rglob("*.pyi") if path.parent.name != "_core" and path.stem != "__init__")
MODULES = sorted({f"_core.{name}" for name in CORE}) + LISTED

# what every compiled class has, or what says nothing to a type checker
IMPLIED = {"__new__", "__repr__", "__reduce__", "__setstate__", "__delitem__", "__doc__", "__module__", "__dict__",
           "__weakref__", "__buffer__", "__release_buffer__"}


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
    if name in LISTED:
        elsewhere = {word for word in module.__all__
                     if getattr(getattr(module, word), "__module__", module.__name__) != module.__name__}
        assert set(module.__all__) - elsewhere <= stubbed and stubbed <= set(dir(module))
        assert elsewhere <= stubbed or "import" in path_of(name).read_text()
        return
    real = public(own(module))
    real |= {word for word in stub(name) if isinstance(getattr(module, word, None), (dict, frozenset, tuple))}   # constants
    assert stubbed == real


STUBBED = [name for name in MODULES if path_of(name).is_file()]
EVERY = [(name, cls) for name in STUBBED for cls in stub(name)
         if inspect.isclass(getattr(importlib.import_module(f"microgradx.{name}"), cls, None))]
CLASSES = [(name, cls) for name, cls in EVERY if name not in LISTED]
IN_PYTHON = [(name, cls) for name, cls in EVERY if name in LISTED]


@pytest.mark.parametrize("name, cls", CLASSES)
def test_every_attribute_of_a_class_has_a_stub(name, cls):
    real, stubbed = getattr(importlib.import_module(f"microgradx.{name}"), cls), stub(name)[cls]
    assert public(vars(real)) == public(stubbed)
    special = {n for n in vars(real) if n.startswith("__") and n.endswith("__") and not re.search("_pyx|_cython", n)}
    if not issubclass(real, tuple):
        assert special - IMPLIED <= set(stubbed)
    for n in stubbed:
        assert hasattr(real, n) and getattr(real, n) is not getattr(object, n, ...), f"{cls}.{n} is not there"
        if n in public(stubbed):
            assert callable(getattr(real, n)) != is_property(stubbed[n][0]), f"{cls}.{n}: a method or an attribute?"


FUNCTIONS = [(name, function) for name in STUBBED for function in sorted(public(stub(name)))
             if (name, function) not in EVERY]
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


@pytest.mark.parametrize("name, cls", IN_PYTHON)
def test_methods_of_classes_in_python(name, cls):
    """All that a class writes is in the stub; what is in the stub has these parameters, if it is not from a table."""
    real, stubbed = getattr(importlib.import_module(f"microgradx.{name}"), cls), stub(name)[cls]
    written = {n for n, thing in vars(real).items() if getattr(thing, "__qualname__", None) == f"{cls}.{n}"
               or isinstance(thing, (property, classmethod, staticmethod))}
    assert public(written) <= set(stubbed)
    table = {"_Activation", "_Loss"} & {base.__name__ for base in real.__mro__}
    for n, nodes in stubbed.items():
        if isinstance(nodes[0], ast.FunctionDef) and not is_property(nodes[0]) and not table:
            bound = isinstance(inspect.getattr_static(real, n), classmethod)
            same_parameters(f"{cls}.{n}", getattr(real, n), nodes, bound)


def test_tables_are_in_the_stubs():
    """Classes made from tables take what their stubs say, with the same defaults."""
    for name, cls in IN_PYTHON:
        real = getattr(importlib.import_module(f"microgradx.{name}"), cls)
        if {"_Activation", "_Loss"} & {base.__name__ for base in real.__mro__[1:]}:
            taken = [p[0::2] for nodes in stub(name)[cls].values() for p in parameters(nodes[0])[1:]]
            assert [p for p in taken if p[0] != "reduction"] == [*real.defaults.items()], cls


def test_the_tests_see_something():
    assert len(IN_PYTHON) > 80
    assert len(CLASSES) >= 8 and len(FUNCTIONS) > 110 and len(METHODS) > 140
    assert ("_core.tensor", "Tensor", "sum") in METHODS and ("_core.ops", "Differentiable", "where") in METHODS


def test_the_package_exports_what_it_imports():
    def imported(suffix):
        tree = ast.parse((PACKAGE / "__init__.py").with_suffix(suffix).read_text())
        return {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom)
                for alias in node.names}
    assert imported(".pyi") == imported(".py")
    for name in public(stub("__init__")) | imported(".pyi") - {"*"}:
        assert hasattr(mgx, name), name


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_the_program_runs(tmp_path):
    program = runpy.run_path(str(Path(__file__).parent / "typing" / "program.py"))
    assert program["tensors"](np.eye(3)) > 0 and program["values"]() > 0
    assert program["training"](str(tmp_path / "file")) > 0.7


@pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="the settings are the source's")
def test_mypy(tmp_path):
    """The package, a program that a user might write, and mistakes that must be found; settings in pyproject.toml."""
    pytest.importorskip("mypy")
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
