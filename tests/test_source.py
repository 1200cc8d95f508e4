"""The shape of the source: who may import whom, one door to C, one door to memory."""
import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CORE, CSRC = ROOT / "microgradx", ROOT / "microgradx/_core", ROOT / "csrc"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="the tests run without the source")

# From the bottom up. A module imports from the layers below its own; within a layer only without a circle.
LAYERS = [["errors", "_core", "_core.capture", "_core.debug", "_core.scalar", "_core.capture.explain", "_core.hooks",
           "_core.floats", "_core.capture.offsets", "_core.capture.unreachable", "_core.capture.uses", "_core.methods",
           "_core.kernels", "_core.memory", "_core.public", "_core.trees"],
          ["_core.graph", "_core.ops", "_core.ufuncs"], ["_core.value", "_core.array"],
          ["_core.scalar.tape", "_core.capture.environment", "_core.capture.originals", "_core.debug.watch"],
          ["_core.scalar.lowering"], ["_core.scalar.replay"],
          ["_core.launch"], ["_core.capture.guards"],
          ["_core.capture.number", "_core.debug.profile", "_core.update"], ["_core.elementwise"], ["_core.views"],
          ["_core.structured"], ["_core.effects", "_core.nets", "_core.sequences", "_core.generator"],
          ["_core.backward"],
          ["_core.tensor", "_core.trace"], ["_core.creation"],
          ["_core.capture.passes"], ["_core.capture.fuse"], ["_core.capture.program"], ["_core.capture.pullback"],
          ["_core.capture.captured"], ["_core.debug.check"],
          ["_core.capture.compiled"], ["typing", "names"],
          ["array_api", "arrays", "autograd", "compile", "config", "conversion", "creation", "devices", "draw",
           "einsum", "functional", "indexing", "inplace",
           "interop", "io", "linalg", "numpy_functions", "profiling", "random", "scalar", "special", "testing",
           "transforms", "vectorize"],
          ["nn", "optim", "data", "distributions"],
          ["func", "parallel", "utils", "flow.settings", "flow.metrics", "flow.quadrature", "flow.theory",
           "flow.records", "flow.engines", "flow.watch", "flow.outputs", "flow.functions", "flow.run", "flow.course",
           "flow.prescriptions", "flow.advice", "flow.verdicts", "flow.report"],
          ["flow"], [""], ["lab"], ["cli", "demo"], ["__main__"]]
TOGETHER = ("arrays", "autograd", "nn", "optim", "data", "distributions", "utils", "flow", "flow.engines",
            "flow.theory", "lab")

# What a module hands to one below it when it is imported, so that calls go up without an import: (the module, the one
# below, the function or name by which it is handed over).
REGISTRATIONS = {
    ("_core.elementwise", "_core.ops", "on_tensors"), ("_core.tensor", "_core.array", "set_array_type"),
    ("_core.launch", "_core.array", "note_reading"), ("_core.launch", "_core.array", "freeze"),
    ("_core.launch", "_core.array", "note_outside"), ("_core.launch", "_core.hooks", "notify"),
    ("_core.launch", "_core.kernels", "set_poll"),
    ("conversion", "_core.tensor", "count_by"), ("interop", "_core.ufuncs", "FUNCTIONS"),
    *((name, "_core.tensor", "attach") for name in ("arrays", "conversion", "functional", "indexing", "inplace",
                                                    "interop", "random")),
    *((name, "_core.floats", "behave_as_floats") for name in ("_core.capture.number", "_core.scalar.replay")),
    *((name, "names", "make_public") for name in (
        "array_api", "arrays", "arrays.elementwise", "arrays.matrices", "arrays.pieces", "arrays.products",
        "arrays.special", "arrays.statistics", "autograd", "autograd.functional", "compile", "config", "conversion",
        "creation", "data", "data.dataloader", "data.dataset", "data.files", "data.points", "data.sampler", "devices",
        "distributions.bernoulli", "distributions.beta", "distributions.binomial", "distributions.categorical",
        "distributions.cauchy", "distributions.chi2", "distributions.dirichlet", "distributions.distribution",
        "distributions.exponential", "distributions.gamma", "distributions.geometric", "distributions.gumbel",
        "distributions.half_normal", "distributions.independent", "distributions.kl", "distributions.laplace",
        "distributions.log_normal", "distributions.mixture_same_family", "distributions.multinomial",
        "distributions.multivariate_normal", "distributions.normal", "distributions.one_hot_categorical",
        "distributions.poisson", "distributions.relaxed_bernoulli", "distributions.relaxed_categorical",
        "distributions.student_t", "distributions.transformed_distribution", "distributions.transforms",
        "distributions.uniform", "draw", "einsum", "func", "indexing", "io", "linalg", "nn.attention",
        "nn.containers", "nn.convolution", "nn.costs", "nn.functional", "nn.init", "nn.layers", "nn.losses",
        "nn.margins", "nn.module", "nn.normalization", "nn.padding", "nn.parameter", "nn.recurrent", "nn.resampling",
        "nn.transformer", "nn.utils", "nn.utils.norms", "nn.utils.parametrizations", "nn.utils.parametrize",
        "nn.utils.rnn", "optim.clip", "optim.lbfgs", "optim.optimizers", "optim.schedulers", "optim.scipy",
        "optim.swa_utils", "profiling", "random", "scalar", "testing", "transforms", "utils.checkpoint", "vectorize")),
    ("flow.loop_rules", "flow.verdicts", "rule"),
    *((name, "_core.launch", "composite") for name in (
        "_core.generator", "_core.nets", "_core.sequences", "_core.structured", "_core.update", "_core.views",
        "indexing", "linalg", "nn.costs", "optim.optimizers"))}


def modules():
    """Every module of the package, by name without the package's, and its files."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.p*")):
        if path.suffix in (".py", ".pyx", ".pxd"):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            found.setdefault(name.removesuffix("__init__").removesuffix("."), []).append(path)
    return found


MODULES = modules()


def layer(name):
    """Its own, or that of the nearest package around it whose modules stand together."""
    ranks = {n: rank for rank, names in enumerate(LAYERS) for n in names}
    parts = name.split(".")
    for package in (".".join(parts[:end]) for end in range(len(parts), 0, -1)):
        if package in ranks and (package == name or package in TOGETHER):
            return ranks[package]
    pytest.fail(f"microgradx.{name} stands in no layer: add it to LAYERS")


def statements(path):
    """(module, names or None) of every import and cimport, those inside functions too."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: a relative import"
                yield node.module, [alias.name for alias in node.names]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                if isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value, None
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


def origins(path):
    """{name: the module of the package that it is imported from, or that it is}."""
    found = {}
    for module, names in statements(path):
        if module.startswith("microgradx."):
            module = module[len("microgradx."):]
            if names == ["*"]:
                declared = "".join(p.read_text() for p in MODULES[module] if p.suffix == ".pxd")
                names = re.findall(r"^cdef .*?(\w+)\)?\(", declared, re.M)
            found.update({n: f"{module}.{n}" if f"{module}.{n}" in MODULES else module for n in names or ()})
    return found


def registrations(name):
    """What happens to other modules when ``name`` is imported: names of theirs assigned to, functions of theirs called
    outside any function, or called as decorators."""
    for path in MODULES[name]:
        known, text = origins(path), re.sub(r'"""[\s\S]*?"""', "", path.read_text())
        for call, owner, attribute, target in re.findall(
                r"^@?(\w+)\(|^(\w+)\.(\w+)(?:\[.*\])? *[|+]?= |^setattr\((\w+)", text, re.M):
            if call in known:
                yield name, known[call], call
            elif owner in known:
                yield name, known[owner], attribute
            elif target in known:
                yield name, known[target], "setattr"


def test_registrations_are_listed():
    found = {found for name in MODULES for found in registrations(name)}
    assert found <= REGISTRATIONS, f"handed down at import: add {found - REGISTRATIONS} to REGISTRATIONS"
    assert found >= REGISTRATIONS, f"listed, and not handed down any more: {REGISTRATIONS - found}"
    for above, below, _ in REGISTRATIONS:
        assert layer(below) < layer(above)


def test_the_checks_see_imports():
    assert {"lab", "flow", "data", "flow.engines"} <= imports("cli")                # inside its functions
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


CYTHON = sorted([*CORE.rglob("*.pxd"), *CORE.rglob("*.pyx")])
SOURCES = sorted(path for path in CSRC.rglob("*") if path.is_file())


def test_one_door_to_c():
    headers = "|".join(re.escape(p.name) for p in SOURCES)
    doors = grep(rf'extern from "({headers})"', CYTHON)
    assert doors == {'kernels.pxd: cdef extern from "kernels.h" nogil:'}
    others = grep(r'extern from "', CYTHON) - doors
    assert {line.split(": ", 1)[1] for line in others} <= {'cdef extern from "Python.h":'}


def test_kernels_know_no_python():
    found = grep(r"\bPy(_|[A-Z])|Python\.h|numpy/|\bcdef\b", SOURCES)
    assert not found


@pytest.mark.parametrize("write, doors", [
    (r"\bkernels\.(?!rules|isa|replay|segment|all_finite)[\w.\[\]]*\(", set()),      # calls of kernels on arrays
    (r"\brun_(kernel|loop|tiles)\(", {"launch.pyx"}),
    (r"\bmem(cpy|set|move)\([^,]*\bdata\b", set()),
    (r"\bdata\[[^\]]*\] *[-+*/]?= ", set()),
    (r"\bwritable_ndarray\((?!Array)", {"launch.pyx", "array.pyx"}),    # writable views: host launches, from_object
    (r"flags\.writeable *=|setflags", set())])
def test_one_door_to_memory(write, doors):
    found = grep(write, CYTHON + sorted(PACKAGE.rglob("*.py")))
    assert {line.split(":")[0] for line in found} <= doors, found
    assert not doors or "launch.pyx" in {line.split(":")[0] for line in found}, "the pattern finds nothing any more"


def test_every_module_is_built_layered_and_checked():
    """Wherever below _core it lies."""
    for path in CORE.rglob("*.pyx"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        layer(name)
        assert path in CYTHON
        built = Path(importlib.import_module(f"microgradx.{name}").__file__)
        assert built.suffix in (".so", ".pyd") and built.parent.name == path.parent.name


def test_lines_of_c_have_120_columns():
    """As ruff and cython-lint have it for Python and Cython; the tables and vmath's coefficients stand in columns."""
    long = [f"{path.name}:{i}" for path in SOURCES if path.suffix in (".inl", ".c") or path.name == "kernels.h"
            for i, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 120]
    assert not long
