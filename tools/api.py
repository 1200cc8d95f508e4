#!/usr/bin/env python3
"""Write down the public names of microgradx with their parameters, a line each, to tests/data/api.txt.

    python tools/api.py             renews the file
    python tools/api.py --check     writes nothing; exits with 1 and the lines that differ if it is not renewed

A difference in this file is a difference that users see. ``tests/data/api-0.1.0.txt`` holds that of the last release:
a name that is there and is here no more needs an entry in ``microgradx.names.REMOVED``.
"""
import difflib
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "tests/data/api.txt"
# What users do not import, and what needs libraries that are not there where this runs.
HIDDEN = ("_core", "__main__", "cli", "demo", "lab", "flow.integrations")


def modules():
    """The public modules, by name."""
    package = importlib.import_module("microgradx")
    yield "microgradx", package
    for info in pkgutil.walk_packages(package.__path__, "microgradx."):
        name = info.name.removeprefix("microgradx.")
        if not f"{name}.".startswith(tuple(f"{hidden}." for hidden in HIDDEN)) and "._" not in f".{name}":
            yield info.name, importlib.import_module(info.name)


def parameters(value):
    """The parameters of a function or class as written, without annotations; "" where there are none to see."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    shown = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    shown = [p if p.default is p.empty or isinstance(p.default, (bool, int, float, str, tuple, type(None)))
             else p.replace(default=...) for p in shown]
    return str(inspect.Signature(shown))


def lines():
    """Every public name once, where it is defined or, of the top level, where users find it."""
    found = {}
    for name, module in modules():
        public = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
        for word in public:
            value = getattr(module, word)
            if inspect.ismodule(value):
                continue
            home = getattr(value, "__module__", None) or ""
            if name != "microgradx" and home.startswith("microgradx") and home != name and not hasattr(
                    module, "__all__"):
                continue
            own = callable(value) and home.startswith("microgradx")     # what others' take depends on their version
            found[f"{name}.{word}"] = parameters(value) if own else ""
            if inspect.isclass(value) and home.startswith("microgradx"):
                for method in sorted(vars(value)):
                    if not method.startswith("_"):
                        attribute = inspect.getattr_static(value, method)
                        shown = parameters(getattr(value, method)) if callable(attribute) else ""
                        found[f"{name}.{word}.{method}"] = shown
    return [name + found[name] for name in sorted(found)]


def main():
    new = "\n".join(lines()) + "\n"
    if "--check" in sys.argv:
        old = FILE.read_text()
        if old != new:
            changed = [line for line in difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
                       if not line.startswith(("---", "+++", "@@"))]
            sys.exit("\n".join([*changed, "the public names have changed: run python tools/api.py"]))
        return
    FILE.write_text(new)


if __name__ == "__main__":
    main()
