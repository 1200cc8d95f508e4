"""Record what torch gives for the lines of names/*.txt: ``python record_names.py [topic ...]``, with torch 2.13."""
import json
import sys
import warnings
from pathlib import Path

import torch

HERE = Path(__file__).parent / "names"
sys.path.insert(0, str(HERE))
from world import lines, outcome, second_derivatives            # noqa: E402


def places():
    """torch's modules by the names that the lines use."""
    import torch.distributions
    import torch.func
    import torch.nn.utils.parametrizations
    import torch.optim.swa_utils
    import torch.utils.data
    return {"nn": torch.nn, "F": torch.nn.functional, "optim": torch.optim, "data": torch.utils.data,
            "distributions": torch.distributions, "func": torch.func, "linalg": torch.linalg}


def main(topics):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for path in sorted(HERE.glob("*.txt")):
        if topics and path.stem not in topics:
            continue
        found = {}
        for line in lines(path):
            torch.manual_seed(0)
            try:
                found[line] = outcome(line, torch, places())[0]
            except Exception as error:
                sys.exit(f"{path.name}: {line}\n{type(error).__name__}: {error}")
            if found[line].get("grads"):
                torch.manual_seed(0)
                try:
                    found[line]["second"] = second_derivatives(line, torch, places())
                except RuntimeError as error:           # torch has no second derivative, or the line goes back itself
                    found[line]["no second"] = str(error).splitlines()[0]
            if found[line] == {"error": None}:
                sys.exit(f"{path.name}: {line}: torch raises nothing")
        rows = ",\n".join(f"{json.dumps(line)}: {json.dumps(value)}" for line, value in found.items())
        path.with_suffix(".json").write_text("{\n" + rows + "\n}\n")
        print(f"{path.stem}: {len(found)} lines")


if __name__ == "__main__":
    main(sys.argv[1:])
