"""Record what array-api-strict gives for the lines of array_api.txt, and the names of the standard."""
import json
from pathlib import Path

import array_api_strict as xp
import numpy as np

HERE = Path(__file__).parent


def variables(xp):
    """The arrays of the lines."""
    def numbers(*shape, shift=0.0):
        count = int(np.prod(shape))
        return (np.sin(np.arange(count) * 1.7 + 0.3 + shift) * (1 + 0.03 * np.arange(count) ** 1.3)).reshape(shape)

    square = numbers(3, 3)
    arrays = {"x": numbers(3, 4), "y": numbers(3, 4, shift=2), "v": numbers(4), "w": numbers(4, 2),
              "s": numbers(2, 3, 4), "a": square + 2 * np.eye(3), "spd": square @ square.T + np.eye(3),
              "i": np.array([[0, 2, 1, 3], [1, 1, 0, 2], [3, 0, 2, 1]]), "m": numbers(3, 4) > 0}
    return {name: xp.asarray(array) for name, array in arrays.items()} | {"xp": xp}


def plain(value):
    """A result as JSON has it."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic):
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        dtype = array.dtype.name if array.dtype.name in ("float32", "float64", "bool") else "int64"
        return {"dtype": dtype, "shape": list(array.shape), "numbers": [
            str(n) if array.dtype.kind == "f" and not np.isfinite(n) else n for n in array.ravel().tolist()]}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def main():
    lines = (HERE / "array_api.txt").read_text().splitlines()
    found = {line: plain(eval(line, variables(xp))) for line in lines}
    xp.set_array_api_strict_flags(api_version="2024.12")
    kept = [name for name in dir(xp) if name.islower() and not name.startswith("_") and "flags" not in name]
    inner = [name for name in xp.linalg.__all__ if name.islower()]
    found["names"] = sorted(kept) + ["__array_namespace_info__"] + [f"linalg.{name}" for name in sorted(inner)]
    (HERE / "array_api.json").write_text(
        "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n")
    print(len(lines), "lines,", len(found["names"]), "names")


if __name__ == "__main__":
    main()
