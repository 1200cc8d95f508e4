"""Builds floor.c with the system compiler, once per source and machine, and loads it with ctypes."""
import ctypes
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

import numpy as np

SOURCE = pathlib.Path(__file__).with_name("floor.c")
INCLUDED = SOURCE.with_name("floor_gemm.h")
FLAGS = ["-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd",
         "-fPIC", "-shared"]
COSTS = {"mse": 0, "cross_entropy": 1}


@functools.cache
def compiled():
    """The compiled floor.c as a ctypes library. Raises RuntimeError when there is no C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        raise RuntimeError("no C compiler: set CC or install cc")
    recipe = (SOURCE.read_bytes(), INCLUDED.read_bytes(), FLAGS, compiler, platform.node())
    key = hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]
    folder = pathlib.Path(tempfile.gettempdir()) / f"microgradx-bench-{os.getuid() if hasattr(os, 'getuid') else 0}"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"floor-{key}.so"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(partial), "-lm"], check=True)
        partial.replace(target)
    lib = ctypes.CDLL(str(target))
    lib.mlp_step.restype = ctypes.c_float
    return lib


@functools.cache
def sgemm_pointer():
    """Address of Fortran sgemm in scipy's OpenBLAS, out of the capsule that scipy exports for Cython."""
    from scipy.linalg import cython_blas
    capsule = cython_blas.__pyx_capi__["sgemm"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


def aligned(array):
    """A flat float32 copy that begins on a cache line."""
    raw = np.empty(array.size + 16, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    raw[skip:skip + array.size] = array.ravel()
    return raw[skip:skip + array.size]


class Mlp(ctypes.Structure):
    """`struct mlp` of floor.c."""
    _fields_ = [(name, ctypes.c_void_p) for name in ("sgemm", "sizes", "x", "target", "params", "work")] + [
        (name, ctypes.c_int) for name in ("layers", "batch", "cost")] + [("lr", ctypes.c_float)]


class Floor:
    """The hand-written step over its own packed copy of the parameters [W0, b0, W1, b1, ...], W (in, out)."""

    def __init__(self, sizes, cost, lr, x, target, params):
        batch = len(x)
        self.shapes = [p.shape for p in params]
        self.arrays = {
            "sizes": np.array(sizes, np.intc), "x": aligned(x), "target": np.ascontiguousarray(target),
            "params": aligned(np.concatenate([p.ravel() for p in params])),
            "work": aligned(np.zeros(batch * (sum(sizes[1:]) + 2 * max(sizes[1:])), np.float32))}
        self.mlp = Mlp(sgemm=sgemm_pointer(), layers=len(sizes) - 1, batch=batch, cost=COSTS[cost], lr=lr,
                       **{name: array.ctypes.data for name, array in self.arrays.items()})
        self.step = functools.partial(compiled().mlp_step, ctypes.byref(self.mlp))
        self.step.keeps = self      # the arrays live as long as the function that writes to them

    def params(self):
        cuts = np.cumsum([int(np.prod(s)) for s in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(self.arrays["params"], cuts), self.shapes)]


def adam(w, g):
    """A step of Adam in place on a copy of ``w`` with the gradient ``g``."""
    arrays = [aligned(a) for a in (w, g, np.zeros_like(w), np.zeros_like(w))]
    places = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
    count = iter(range(1, 1 << 30))

    def step():
        compiled().adam_step(ctypes.c_size_t(w.size), *places, next(count))
        return arrays[:1]
    return step
