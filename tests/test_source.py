"""The shape of the source: who may import whom, one door to C, one door to memory, sizes, words."""
import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CORE, CSRC = ROOT / "microgradx", ROOT / "microgradx/_core", ROOT / "csrc"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="the tests run without the source")

# From the bottom up. A module imports from the layers below its own; within a layer only without a circle.
LAYERS = [["errors", "_core", "_core.explain", "_core.hooks", "_core.kernels", "_core.memory", "_core.trees"],
          ["_core.graph", "_core.ops", "_core.ufuncs"], ["_core.value", "_core.array"], ["_core.tape", "_core.watch"],
          ["_core.launch"], ["_core.number"], ["_core.elementwise"], ["_core.views"], ["_core.structured"],
          ["_core.nets"], ["_core.backward"], ["_core.tensor", "_core.trace"], ["_core.passes"], ["_core.fuse"],
          ["_core.program"], ["_core.check"], ["_core.compiled"],
          ["arrays", "autograd", "compile", "config", "creation", "draw", "einsum", "functional", "indexing",
           "interop", "io", "linalg", "random", "scalar", "transforms", "vectorize"], ["nn", "optim", "data"], ["flow"],
          [""], ["lab"], ["cli", "demo"], ["__main__"]]
TOGETHER = [["nn"]]                                     # packages whose modules share their layer

BUDGET = {"core": 9600, "engine": 1550, "nets": 2000}   # lines of code; the design page says what they are
LIMIT = 450                                             # lines of one file
REASON = "long because"                                 # what a longer one says at its top


def modules():
    """Every module of the package, by name without the package's, and its files."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py*")):
        if path.suffix in (".py", ".pyx", ".pxd"):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            found.setdefault(name.removesuffix("__init__").removesuffix("."), []).append(path)
    return found


MODULES = modules()


def layer(name):
    for rank, names in enumerate(LAYERS):
        if name in names or any(name.startswith(n + ".") for n in ("nn", "optim", "data", "flow", "lab") if n in names):
            return rank
    pytest.fail(f"microgradx.{name} stands in no layer: add it to LAYERS")


def statements(path):
    """(module, names or None) of every import and cimport."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: a relative import"
                yield node.module, [alias.name for alias in node.names]
        return
    text = re.sub(r'"""[\s\S]*?"""', "", text)
    for match in re.finditer(r"^[ \t]*from (\S+) c?import (\([^)]*\)|.+)$|^[ \t]*c?import (\S+)", text, re.M):
        module, names, plain = match.groups()
        yield (plain, None) if plain else (module, re.findall(r"(\w+|\*)(?: as \w+)?", names))


def imports(name):
    """The modules of the package that ``name`` imports."""
    found = set()
    for path in MODULES[name]:
        for module, names in statements(path):
            if module.split(".")[0] != "microgradx":
                continue
            module = module[len("microgradx."):]
            below = [f"{module}.{n}".lstrip(".") for n in names or ()]
            found.update(b for b in below if b in MODULES)
            if not names or any(b not in MODULES for b in below):
                found.add(module)
    return found - {name}


@pytest.mark.parametrize("name", MODULES, ids=lambda n: n or "__init__")
def test_imports_point_down(name):
    for other in imports(name):
        assert other in MODULES, f"{name} imports {other}, which is no module"
        assert layer(other) <= layer(name), f"microgradx.{name} imports microgradx.{other}, which stands above it"


def test_no_circles():
    above, done = [], set()

    def visit(name):
        assert name not in above, " -> ".join(above + [name])
        if name not in done:
            above.append(name)
            [visit(other) for other in sorted(imports(name))]
            done.add(above.pop())
    [visit(name) for name in MODULES]


def test_the_checks_see_imports():
    assert {"_core.array", "_core.kernels", "_core.views", "errors"} <= imports("_core.tensor")
    assert {"_core.tensor", "errors"} <= imports("einsum") and "nn" in imports("")


def test_every_layer_exists():
    assert {n for names in LAYERS for n in names} <= set(MODULES)


# ----- doors ---------------------------------------------------------------------------------------------------------

def code(path):
    """Without comments and docstrings."""
    text = re.sub(r'"""[\s\S]*?"""', '""', path.read_text())
    return re.sub(r"#.*", "", text) if path.suffix != ".h" else text


def grep(pattern, paths):
    return {f"{path.name}: {line.strip()}" for path in paths for line in code(path).splitlines()
            if re.search(pattern, line)}


CYTHON = sorted(CORE.glob("*.px?")) + sorted(CORE.glob("*.pyx"))


def test_one_door_to_c():
    headers = "|".join(re.escape(p.name) for p in CSRC.iterdir())
    doors = grep(rf'extern from "({headers})"', CYTHON)
    assert doors == {'kernels.pxd: cdef extern from "kernels.h" nogil:'}
    others = grep(r'extern from "', CYTHON) - doors
    assert {line.split(": ", 1)[1] for line in others} <= {'cdef extern from "Python.h":'}


def test_kernels_know_no_python():
    found = grep(r"\bPy(_|[A-Z])|Python\.h|numpy/|\bcdef\b", sorted(p for p in CSRC.iterdir() if p.is_file()))
    assert not found


@pytest.mark.parametrize("write, doors", [
    (r"\bkernels\.(?!rules|isa|replay|finite)[\w.\[\]]*\(", {"launch.pyx"}),          # calls of kernels on arrays
    (r"\b(run\(&|[sd]gemm\()", {"launch.pyx"}),
    (r"\bmem(cpy|set|move)\([^,]*\bdata\b", set()),
    (r"\bdata\[[^\]]*\] *[-+*/]?= ", set()),
    (r"\bwindow\((?!Array)", {"launch.pyx", "array.pyx"}),              # writable views: host launches, from_object
    (r"flags\.writeable *=|setflags", set())])
def test_one_door_to_memory(write, doors):
    found = grep(write, CYTHON + sorted(PACKAGE.rglob("*.py")))
    assert {line.split(":")[0] for line in found} <= doors, found
    assert not doors or "launch.pyx" in {line.split(":")[0] for line in found}, "the pattern finds nothing any more"


# ----- sizes and words -----------------------------------------------------------------------------------------------

def tracked():
    """The text files of the repository."""
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                                capture_output=True, text=True, check=True)
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in ROOT.rglob("*") if not {".venv", "build", "__pycache__"} & set(p.parts)]
    kinds = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".inl", ".def", ".md", ".toml", ".yml", ""}
    return [p for p in paths if p.is_file() and p.suffix in kinds and p.name != "LICENSE"
            and not (p.suffix == ".c" and p.parent == CORE)]


def lines(path):
    return path.read_text().count("\n")


def test_long_files_say_why():
    silent = {str(p.relative_to(ROOT)): lines(p) for p in tracked()
              if p.suffix not in (".md", ".pyi") and lines(p) > LIMIT and REASON not in p.read_text()[:1500]}
    assert not silent, f"more than {LIMIT} lines and no {REASON!r} at the top"


def code_lines(path):
    """Lines that are neither blank nor comment nor docstring."""
    text = re.sub(r'"""[\s\S]*?"""|/\*[\s\S]*?\*/', "", path.read_text())
    return sum(bool(line.strip()) and not line.strip().startswith(("#  ", "# ", "//")) for line in text.splitlines())


def test_an_evening_is_a_budget():
    above = ("cli.py", "demo.py", "__main__.py")
    parts = {"core": [*(p for p in CSRC.iterdir() if p.is_file()), *CYTHON, *CORE.glob("*.py")],
             "engine": [p for p in PACKAGE.glob("*.py") if p.name not in above],
             "nets": [p for name in ("nn", "optim", "data") for p in (PACKAGE / name).rglob("*.py")]}
    found = {name: sum(map(code_lines, paths)) for name, paths in parts.items()}
    assert all(count <= BUDGET[name] for name, count in found.items()), found


def test_words():
    """The files speak of the engine, not of the places and the procedures in which they were written."""
    words = [r"[/\\]wo" r"rk[/\\]", r"/ro" r"ot/", r"\bag" r"ents?\b", r"\biss" r"ue #?\d", r"\bses" r"sions?\b"]
    found = [f"{p.relative_to(ROOT)}: {m.group()!r}" for p in tracked()
             for m in re.finditer("|".join(words), p.read_text(errors="replace"), re.I)]
    assert not found
