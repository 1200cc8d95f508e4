"""The extensions. Everything else about the package stands in pyproject.toml."""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("microgradx/_core")
DIRECTIVES = dict(language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False,
                  embedsignature=True)
# Contraction is off so that a * b + c means the same everywhere; FMA() says where it is fused. -ffast-math never.
KERNEL_FLAGS = [] if os.name == "nt" else ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]


def extension(name):
    kernels = name == "kernels"
    return Extension(f"microgradx._core.{name}",
                     [str(CORE / f"{name}.pyx")] + ([str(c) for c in sorted(Path("csrc").glob("*.c"))] if kernels else []),
                     include_dirs=["csrc"], depends=[str(p) for p in Path("csrc").glob("*" if kernels else "kernels.h")],
                     extra_compile_args=KERNEL_FLAGS if kernels else [])


setup(ext_modules=cythonize([extension(path.stem) for path in sorted(CORE.glob("*.pyx"))],
                            compiler_directives=DIRECTIVES, nthreads=0),
      options={"build_ext": {"parallel": os.cpu_count() or 1}})
