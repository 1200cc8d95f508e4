"""Write golden.json, what the programs of this folder print with torch: ``python record.py``, with torch 2.13."""
import contextlib
import io
import json
import warnings
from pathlib import Path

HERE = Path(__file__).parent


def printed(source, path):
    """What a program prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        exec(compile(source, str(path), "exec"), {"__name__": "__main__"})
    return text.getvalue()


def main():
    import torch
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    golden = {}
    for path in sorted(HERE.glob("t[0-9]*.py")):
        golden[path.name] = printed(path.read_text(), path)
        torch.set_printoptions(profile="default")
        torch.set_default_dtype(torch.float32)
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
