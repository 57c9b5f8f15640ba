"""docs/architecture.md names every package, and every module that touches private names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
# Of the Python standard library, and documented as usable.
ALLOWED = {"os._exit"}
UPSTREAM = ("keras.src", "tensorflow.python")


def test_every_package_is_in_the_table():
    packages = {path.parent.name for path in ROOT.glob("tfdml/*/__init__.py")}
    named = set(re.findall(r"^\| `tfdml\.(\w+)` \|", TEXT, re.M))
    assert packages <= named
    assert all((ROOT / "tfdml" / name).is_dir() or name == "callbacks" for name in named)


def test_private_names_are_touched_where_the_page_says():
    assert {path for path in modules() if private_names(path)} == set(
        re.findall(r"`(tfdml/[\w/]+\.py)`", section("Names that are not ours"))
    ) - {"tfdml/checkpoint/callback_state.py"}  # by strings


def test_every_private_attribute_and_pinning_test_is_listed():
    page = section("Names that are not ours")
    for path in modules():
        for name in private_names(path):
            if "launch" not in path:
                assert name.rpartition(".")[2] in page, f"{path}: {name}"
    for test in re.findall(r"`(tests/[\w/]+\.py)`", page):
        assert (ROOT / test).is_file(), test


def modules() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tfdml/**/*.py"))]


def private_names(path: str) -> set[str]:
    """Attributes with a leading underscore of anything but `self`, and private modules imported."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
            name = ast.unparse(node)
            if name not in ALLOWED and not re.match(r"(self|cls|super\(\))\._\w+$", name):
                found.add(name)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(UPSTREAM):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
