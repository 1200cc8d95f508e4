"""The extensions: one for each .pyx, and in that of kernels.pyx the C of csrc. All else stands in pyproject.toml.

Each file is compiled by itself, several at a time, and only if it or a file that it includes has changed: Cython and
the compiler write down which those are. Objects stand in build/objects-*."""
import gc
import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError, LinkError, PlatformError

CORE, CSRC, PACKAGE = Path("microgradx", "_core"), Path("csrc"), "microgradx._core."
KERNELS = PACKAGE + "kernels"
SHARED = PACKAGE + "_cyutility"         # helper functions of Cython's that all modules call, compiled once: no .pyx
OBJECTS = Path("build", f"objects-{sysconfig.get_platform()}-{sys.implementation.cache_tag}")
DIRECTIVES = dict(language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False,
                  embedsignature=True, auto_pickle=False, emit_code_comments=False)
# Modules of which an instruction more at every operation shows. Those in neither set are compiled with -Og, in two
# thirds of the time of -O1.
HOT = {"array", "graph", "elementwise", "value", "public", "_cyutility"}
# Modules that run as often, and are as fast without the passes of LEAN and without -fgcse.
WARM = {"ops", "launch", "backward", "tensor", "structured", "views", "nets", "sequences", "compiled", "captured",
        "pullback", "program", "tape", "update", "generator", "creation"}
SETS = {"baseline": [], "avx2": [("MGX_AVX2", None)], "avx512": [("MGX_AVX512", None)]}     # instruction sets
# What of GCC's -O2 takes time and gains nothing, in straight loops and in WARM modules. Not
# -fno-expensive-optimizations: it drops the instruction that clears the upper halves of vectors, without which all SSE
# code that follows is slow. Nor -fno-gcse for loops: constants would be read again in each round, a fifth of tanh's
# instructions.
LEAN = ["-fno-tree-pre", "-fno-tree-vrp", "-fno-schedule-insns2", "-fno-tree-slp-vectorize"]
# Contraction is off so that a * b + c means the same everywhere; FMA() says where it is fused. -ffast-math never.
LOOPS = ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
# Where no memory is left to append an item to a list, Cython 3.3 lets go of it here and once more afterwards.
APPEND = ("int result = PyList_Append(list, x);\n    Py_DECREF(x);\n",
          "int result = PyList_Append(list, x);\n    if (likely(result == 0))\n        Py_DECREF(x);\n")
# A method of a class that C defines reads its `self` as such an object: nothing else may be passed as one.
SELF = (("static PyObject *__Pyx_CyFunction_CallAsMethod(PyObject *func, PyObject *args, PyObject *kw) {\n", """\
#if defined(__GNUC__)
__attribute__((cold, noinline))
#endif
static int mgx_refuse_self(__pyx_CyFunctionObject *f, PyObject *self, PyTypeObject *kind) {
    if (PyObject_TypeCheck(self, kind))
        return 0;
    PyErr_Format(PyExc_TypeError, "%U: a method of %s, called with %s as self", f->func_qualname, kind->tp_name,
                 Py_TYPE(self)->tp_name);
    return 1;
}
static CYTHON_INLINE int mgx_is_other_self(__pyx_CyFunctionObject *f, PyObject *self) {
    PyTypeObject *kind = ((PyCMethodObject *) f)->mm_class, *type;
    if (!kind || !self)
        return 0;
    for (type = Py_TYPE(self); type; type = type->tp_base)
        if (type == kind)
            return 0;
    return mgx_refuse_self(f, self, kind);
}
static PyObject *__Pyx_CyFunction_CallAsMethod(PyObject *func, PyObject *args, PyObject *kw) {
"""),
        ("self = PyTuple_GetItem(args, 0);\n", """\
self = PyTuple_GetItem(args, 0);
        if (mgx_is_other_self(cyfunc, self)) {
            Py_DECREF(new_args);
            return NULL;
        }
"""),
        ("        self = args[0];\n        args += 1;\n", """\
        self = args[0];
        if (mgx_is_other_self(cyfunc, self))
            return NULL;
        args += 1;
"""))
EXTRA = os.environ.get("MICROGRADX_CFLAGS", "").split()     # after all others: of the checked build


class BuildExt(build_ext):
    def build_extensions(self):
        self.microsoft = self.compiler.compiler_type == "msvc"
        if self.microsoft:                          # csrc is written in GNU's C: clang, by the arguments of cl
            self.compiler.initialize()
            self.compiler.cc = shutil.which("clang-cl") or "clang-cl"
        try:
            self.gcc = not self.microsoft and b"Free Software Foundation" in subprocess.run(
                [self.compiler.compiler_so[0], "--version"], capture_output=True).stdout
        except OSError:
            self.gcc = False
        try:
            self.build_all()
        except (CompileError, ExecError, LinkError, PlatformError) as error:
            raise SystemExit(f"microgradx needs a C compiler and Python's headers (Debian, Ubuntu: apt install gcc "
                             f"libc6-dev python3-dev; Windows: clang-cl and Microsoft's build tools), and the build "
                             f"with them failed: {error}") from None

    def build_all(self):
        units = []                                  # source, folder of the object, macros, flags, extension
        for extension in self.extensions:
            module = Path(extension.sources[0])
            units.append((module, OBJECTS, [], core_flags(module, self.gcc), extension.name))
        units.sort(key=lambda unit: unit[0].suffix == ".pyx" and -unit[0].stat().st_size)
        units[:0] = [(path, OBJECTS / name, macros, loop_flags(path, self.gcc), KERNELS)
                     for path in sorted(CSRC.glob("isa/*.c")) for name, macros in SETS.items()]
        units += [(path, OBJECTS, [], loop_flags(path, self.gcc), KERNELS) for path in sorted(CSRC.glob("*.c"))]

        objects, old = {extension.name: [] for extension in self.extensions}, []
        for unit in units:
            source, folder, *_, name = unit
            if name in objects:
                target = folder / source.with_suffix(self.compiler.obj_extension)
                objects[name].append(target)
                if stale(target) or CORE in source.parents and stale(source.with_suffix(".c")):
                    old.append((target, *unit))
        self.numbers, self.all = itertools.count(1), len(old)
        gc.set_threshold(100_000)                   # Cython makes large trees, and few circles
        with ThreadPoolExecutor(self.parallel or os.cpu_count() or 1) as pool:
            try:
                futures = []
                for target, source, folder, macros, flags, _ in old:
                    if CORE in source.parents:      # Cython here, in turn, while the pool compiles
                        source = translate(source)
                    futures.append(pool.submit(self.compile, target, source, folder, macros, flags))
                for future in futures:
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)
        for extension in self.extensions:
            self.link(extension, objects[extension.name])

    def compile(self, target, source, folder, macros, flags):
        start = time.perf_counter()
        record = ["-MMD", "-MP", "-MF", f"{target}.d", "-g0"]
        target.parent.mkdir(parents=True, exist_ok=True)
        self.compiler.compile([str(source)], output_dir=str(folder), macros=macros, include_dirs=[str(CSRC)],
                              extra_postargs=arguments([*record, *flags, *EXTRA], self.microsoft))
        print(f"[{next(self.numbers):2}/{self.all}] {target.relative_to(OBJECTS).with_suffix('')}"
              f"  {time.perf_counter() - start:.1f} s\n", end="", flush=True)

    def link(self, extension, objects):
        path = Path(self.get_ext_fullpath(extension.name))
        if not path.exists() or any(newer(target, path) for target in objects):
            self.compiler.link_shared_object([str(target) for target in objects], str(path), target_lang="c",
                                             export_symbols=self.get_export_symbols(extension))


def loop_flags(path, gcc):
    """Loops over rows of the table are as good, and made in half the time, with GCC's vectorizer and little else."""
    if gcc and path.stem.startswith("elementwise"):
        return ["-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fno-ipa-icf", *LEAN, *LOOPS]
    return ["-O3", *LOOPS]


def core_flags(path, gcc):
    if path.stem in WARM:
        return ["-O2", "-fno-gcse", *LEAN] if gcc else ["-O2"]
    if path.stem not in HOT:
        return ["-Og"]
    if gcc and path.stem == "array":                    # every operation makes one: in line, as with -O3
        return ["-O2", "--param=max-inline-insns-single=200"]
    return ["-O2"]


def arguments(flags, microsoft):
    """Flags of GCC and clang as the compiler takes them: clang-cl hands on what is marked."""
    return [f"/clang:{flag}" for flag in flags] if microsoft else flags


def newer(path, than):
    return path.stat().st_mtime_ns > than.stat().st_mtime_ns


def stale(target):
    """Whether a file is missing, or older than one that it was made from or than this one."""
    record = Path(f"{target}.{'dep' if target.suffix == '.c' else 'd'}")
    try:
        made_from = record.read_text().replace("\\\n", " ").split("\n")[0].split(": ", 1)[1].split()
        return any(newer(Path(path), target) for path in ["setup.py", *made_from])
    except (OSError, IndexError):
        return True


def translate(source):
    """The C of a module, by Cython; of ``SHARED``, which has no .pyx, the functions that the others call."""
    from Cython.Build import cythonize
    path = source.with_suffix(".c")
    if stale(path):
        name = ".".join(source.with_suffix("").parts)
        cythonize([Extension(name, [str(source)])], compiler_directives=DIRECTIVES, depfile=True, force=True,
                  quiet=True, shared_utility_qualified_name=SHARED, shared_utility_features_disabled=["MemoryView"])
        if name == SHARED:
            Path(f"{path}.dep").write_text(f"{path}: \n")
        text = path.read_text().replace(*APPEND)
        for generated, checked in SELF:
            text = text.replace(generated, checked)
        path.write_text(text)
    return path


if __name__ == "__main__":
    names = {".".join(path.with_suffix("").parts): path for path in sorted(CORE.rglob("*.pyx"))}
    names[SHARED] = CORE / "_cyutility.c"
    setup(ext_modules=[Extension(name, [str(path)]) for name, path in names.items()], cmdclass={"build_ext": BuildExt})
