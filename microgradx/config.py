"""What this installation runs on."""
import os
import platform

from microgradx._core.kernels import isa

__all__ = ["config", "show_config"]


def _version(package):
    from importlib.metadata import PackageNotFoundError, version  # imported late: it takes 20 ms
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def config() -> dict[str, str]:
    """A dict of str: versions, the instruction set whose kernels were chosen, the BLAS and its threads, the cores.

    >>> from microgradx.config import config
    >>> config()["instruction set"].split()[0] in ("baseline", "avx2", "avx512")
    True
    """
    import scipy.linalg.cython_blas  # noqa: F401  loads the BLAS whose threads are asked for below
    from threadpoolctl import threadpool_info
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    ours = [pool for pool in pools if os.path.basename(os.path.dirname(pool["filepath"])).startswith("scipy")]
    forced = os.environ.get("MICROGRADX_ISA")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "microgradx": _version("microgradx"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "numpy, scipy": f"{_version('numpy')}, {_version('scipy')}",
        "instruction set": isa() + (f" (MICROGRADX_ISA={forced})" if forced else " (MICROGRADX_ISA overrides)"),
        "blas": "; ".join(f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
                          for pool in ours or pools) or "unknown",
        "cores": str(cores)}


def show_config() -> None:
    """Print ``config()``."""
    for name, value in config().items():
        print(f"{name:<16} {value}")
