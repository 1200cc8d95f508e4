"""What this installation runs on."""
import os
import platform

import numpy as np

from microgradx._core.kernels import isa, threads
from microgradx._core.tensor import print_options
from microgradx.errors import OptionError
from microgradx.names import make_public

__all__ = ["config", "get_num_threads", "set_num_threads", "set_printoptions", "show_config",
           "set_float32_matmul_precision", "use_deterministic_algorithms"]


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # imported late: it takes 20 ms
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    """Of those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_num_threads() -> int:
    """How many threads a large launch may use."""
    return threads()


def set_num_threads(count: int) -> None:
    """Let large launches, and the BLAS, use ``count`` threads from now on.

    At first it is as many as there are cores for this process, or as the environment variables MICROGRADX_NUM_THREADS
    or OMP_NUM_THREADS say. Small launches always run in the thread that calls, so a small net takes one core. Results
    of our kernels do not depend on the number, to the last bit; sums inside the BLAS may.

    Raises ``OptionError`` for a count below 1.

    >>> import microgradx as mgx
    >>> before = mgx.get_num_threads()
    >>> mgx.set_num_threads(1)
    >>> mgx.get_num_threads()
    1
    >>> mgx.set_num_threads(before)
    """
    import scipy.linalg.cython_blas  # noqa: F401  the BLAS must be there to be told
    from threadpoolctl import threadpool_limits
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 1024:
        raise OptionError(f"set_num_threads: a number of threads from 1 to 1024, not {count!r}")
    threads(count)
    threadpool_limits(count, user_api="blas")


def set_printoptions(precision: int | None = None, threshold: int | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None) -> None:
    """How tensors are printed from now on, in torch's words; NumPy's arrays are printed as before.

    ``precision``: digits behind the point. ``threshold``: more elements than that are shown in part, ``edgeitems`` at
    each end. ``linewidth``: characters of a line. ``profile``: "default", "short" (2 digits) or "full" (all elements).
    ``sci_mode``: False writes 0.0001 instead of 1e-4. Raises ``OptionError`` for another profile.

    >>> import microgradx as mgx
    >>> mgx.set_printoptions(precision=2)
    >>> mgx.Tensor([1 / 3])
    Tensor([0.33])
    >>> mgx.set_printoptions(profile="default")
    """
    profiles = {None: {}, "default": {}, "short": {"precision": 2, "threshold": 1000, "edgeitems": 2},
                "full": {"threshold": 2**62}}
    if profile not in profiles:
        raise OptionError(f"set_printoptions: profile is 'default', 'short' or 'full', not {profile!r}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "max_line_width": linewidth,
             "suppress_small": None if sci_mode is None else not sci_mode}
    options = {**(print_options if profile is None else profiles[profile]),
               **{name: value for name, value in given.items() if value is not None}}
    np.array2string(np.arange(2.0), **options)          # raises for what no option takes
    print_options.clear()
    print_options.update(options)


def set_float32_matmul_precision(precision: str) -> None:
    """"highest", "high" or "medium": products of float32 are of full precision, whichever it is."""
    if precision not in ("highest", "high", "medium"):
        raise OptionError("set_float32_matmul_precision: 'highest', 'high' or 'medium', not " + repr(precision))


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing to do: results repeat to the last bit always."""


def _begin() -> None:
    for name in ("MICROGRADX_NUM_THREADS", "OMP_NUM_THREADS"):
        said = os.environ.get(name, "").partition(",")[0]
        if said.isdecimal() and int(said):
            threads(int(said))
            return
    threads(_cores())


_begin()


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
    return {
        "microgradx": _version("microgradx"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "numpy, scipy": f"{_version('numpy')}, {_version('scipy')}",
        "instruction set": isa() + (f" (MICROGRADX_ISA={forced})" if forced else " (MICROGRADX_ISA overrides)"),
        "blas": "; ".join(f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
                          for pool in ours or pools) or "unknown",
        "threads": f"{get_num_threads()} for large launches",
        "cores": str(_cores())}


def show_config() -> None:
    """Print ``config()``."""
    for name, value in config().items():
        print(f"{name:<16} {value}")


make_public(__name__)
