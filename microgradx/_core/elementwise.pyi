from collections.abc import Callable
from typing import Any

import numpy.typing as npt

def integer_into(out: npt.NDArray[Any], x: Any, function: Callable[..., Any]) -> None: ...
