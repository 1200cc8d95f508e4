"""docs/reading.md names files and definitions that exist, and its path is short enough to be read."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="the tests run without the source")
LONGEST = 1100                          # lines of code

FIRST = {".def": r"[A-Z]+\({0},", ".inl": r"#define {0}\(", ".c": r"\w.*\b{0}\([^;]*$",
         ".pyx": r" *(cdef|def|class)\b[^#]*?\b{0}(\(|:)", ".pxd": r"cdef\b[^#]*?\b{0}(\(|:)"}


def definition(path, name):
    """The lines that define ``name`` in a file, or a method as ``Class.name``; none if it does not."""
    lines = path.read_text().splitlines()
    start, scope = 0, name.split(".")
    for word in scope:
        pattern = re.compile(FIRST[path.suffix].format(re.escape(word)))
        start = next((i for i in range(start, len(lines)) if pattern.match(lines[i])), None)
        if start is None:
            return []
    end, deep = start + 1, len(lines[start]) - len(lines[start].lstrip())
    if path.suffix == ".inl":
        while lines[end - 1].endswith("\\"):
            end += 1
    elif path.suffix == ".c":
        while lines[end - 1] != "}":
            end += 1
    else:
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" " * (deep + 1))):
            end += 1
    return [line for line in lines[start:end] if line.strip()]


def path_of_the_page():
    """(file, name) of each definition, in order."""
    page = ROOT / "docs/reading.md"
    rows = re.findall(r"^\| `([^`]+)` \| (`.*?) \|", page.read_text() if page.exists() else "", re.M)
    return [(file, name) for file, names in rows for name in re.findall(r"`([^`]+)`", names)]


@pytest.mark.parametrize("file, name", path_of_the_page())
def test_what_the_page_names_exists(file, name):
    assert len(definition(ROOT / file, name)) > 1


def test_the_path_is_short_and_nothing_comes_twice():
    found = path_of_the_page()
    assert len(found) == len(set(found)) > 30
    assert 900 < sum(len(definition(ROOT / file, name)) for file, name in found) <= LONGEST
    assert definition(ROOT / "csrc/ops.def", "no_such_row") == []


def test_the_page_is_found_and_so_are_the_files_that_it_mentions():
    for page in ("README.md", "docs/design.md"):
        assert "reading.md" in (ROOT / page).read_text()
    text = (ROOT / "docs/reading.md").read_text()
    for name in re.findall(r"`([\w./]+\.(?:pyx|md|inl|def|c))`|\]\((\w+\.md)\)", text):
        file = Path(name[0] or name[1]).name
        assert list(ROOT.glob(f"docs/{file}")) or list(ROOT.glob(f"csrc/**/{file}")) \
            or list((ROOT / "microgradx").rglob(file)), file
