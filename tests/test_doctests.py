"""Every example in a docstring, of compiled modules and of plain ones, runs as it is printed."""
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import microgradx

README = Path(__file__).resolve().parents[1] / "README.md"
NAMES = ["microgradx"] + [m.name for m in pkgutil.walk_packages(microgradx.__path__, "microgradx.")
                          if not m.name.endswith("__main__")
                          and ".integrations." not in m.name]          # which need the libraries that they serve
PARSER = doctest.DocTestParser()


def examples(name):
    """{where: docstring} of the module, its classes, their methods and properties, its functions."""
    module = importlib.import_module(name)
    found = {name: module.__doc__}
    members = dict(vars(module)) | {n: getattr(module, n) for n in getattr(module, "__all__", ())}
    for key, thing in members.items():
        if inspect.ismodule(thing) or getattr(thing, "__module__", None) != name:
            continue
        found[f"{name}.{key}"] = getattr(thing, "__doc__", None)
        if inspect.isclass(thing):
            found |= {f"{name}.{key}.{k}": getattr(v, "__doc__", None) for k, v in vars(thing).items()}
    return {where: doc for where, doc in found.items() if isinstance(doc, str) and ">>>" in doc}


CASES = {where: doc for name in NAMES for where, doc in examples(name).items()}


@pytest.mark.parametrize("where", CASES)
def test_example(where):
    said = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(PARSER.get_doctest(CASES[where], {}, where, None, 0), out=said.append)
    assert runner.failures == 0, "".join(said)


def test_examples_are_found_everywhere():
    """In Cython classes, Cython functions, Python functions and docstrings of modules."""
    for where in ("microgradx._core.tensor.Tensor", "microgradx._core.tensor.Tensor.backward",
                  "microgradx._core.value.dot", "microgradx._core.ops.Differentiable.pow",
                  "microgradx.einsum.einsum", "microgradx.functional"):
        assert where in CASES
    assert len(CASES) > 30


PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if README.is_file() else []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda text: text.split("\n")[0])
def test_readme(program, capsys, monkeypatch, tmp_path):
    """The programs of the first page print what stands behind their prints; another instruction set may round away
    a digit of an image that was a near thing."""
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    promised = re.findall(r"^print.*#\s+(.*)$", program, re.M)
    found, said = ([float(word) for line in lines for word in line.split()]
                   for lines in (capsys.readouterr().out.splitlines(), promised))
    assert said and found == pytest.approx(said, rel=0.02)
