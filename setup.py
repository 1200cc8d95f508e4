"""The extensions. Everything else about the package stands in pyproject.toml."""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError, LinkError, PlatformError

CORE = Path("microgradx/_core")
DIRECTIVES = dict(language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False,
                  embedsignature=True)
# Contraction is off so that a * b + c means the same everywhere; FMA() says where it is fused. -ffast-math never.
KERNEL_FLAGS = ["-g0", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
CORE_FLAGS = ["-g0", "-O2"]                         # no loops to vectorise: -O3 only makes it longer


class BuildExt(build_ext):
    """Says in one sentence what a failed or missing compiler means."""

    def run(self):
        try:
            super().run()
        except (CompileError, ExecError, LinkError, PlatformError) as error:
            raise SystemExit(f"microgradx needs a C compiler and Python's headers (Debian, Ubuntu: apt install gcc "
                             f"libc6-dev python3-dev), and the build with them failed: {error}") from None


def extension(name):
    kernels = name == "kernels"
    loops = sorted(Path("csrc").glob("*.c")) if kernels else []
    return Extension(f"microgradx._core.{name}", [str(path) for path in [CORE / f"{name}.pyx", *loops]],
                     include_dirs=["csrc"],
                     depends=[str(path) for path in Path("csrc").glob("*" if kernels else "kernels.h")],
                     extra_compile_args=[] if os.name == "nt" else KERNEL_FLAGS if kernels else CORE_FLAGS)


# the kernels take longest, so they come first
names = sorted((path.stem for path in CORE.glob("*.pyx")), key=lambda name: (name != "kernels", name))
setup(ext_modules=cythonize([extension(name) for name in names], compiler_directives=DIRECTIVES),
      cmdclass={"build_ext": BuildExt}, options={"build_ext": {"parallel": os.cpu_count() or 1}})
