"""One core for every contender: process affinity, BLAS pools, torch and XLA threads.

`before_imports` must run before NumPy, torch or JAX are imported, because their thread pools read the
environment once; this file therefore imports none of them at the top.
"""
import os
import sys

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
              "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NPROC")
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def before_imports():
    """Bind the process to one core and ask every thread pool for one thread. Return what was done, as text."""
    for name in ONE_THREAD:
        os.environ[name] = "1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAGS}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if not hasattr(os, "sched_setaffinity"):
        return "affinity: this system cannot bind a process to a core"
    core = max(os.sched_getaffinity(0))         # core 0 tends to serve the interrupts
    os.sched_setaffinity(0, {core})
    return f"affinity: bound to core {core} before any import; cores now allowed: {sorted(os.sched_getaffinity(0))}"


def after_imports():
    """Limit the pools that the imported libraries opened. Return a list of lines that say what was found."""
    import scipy.linalg.cython_blas  # noqa: F401  opens scipy's OpenBLAS, so that it is limited below
    import threadpoolctl
    threadpoolctl.threadpool_limits(1)
    lines = [f"pool: {pool['internal_api']} {pool.get('version') or ''} threads={pool['num_threads']} "
             f"{os.path.basename(pool['filepath'])}" for pool in threadpoolctl.threadpool_info()]
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        lines.append(f"pool: torch threads={torch.get_num_threads()} interop={torch.get_num_interop_threads()}")
    if "jax" in sys.modules:
        lines.append(f"pool: jax XLA_FLAGS={os.environ['XLA_FLAGS']!r}, threads inherit the affinity")
    if (mgx := sys.modules.get("microgradx")) and hasattr(mgx, "set_num_threads"):
        mgx.set_num_threads(1)
        lines.append("pool: microgradx threads=1")
    return lines
