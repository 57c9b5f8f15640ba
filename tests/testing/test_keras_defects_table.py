"""docs/keras-defects.md names every defect, what pins it and what shows tfdml right."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "keras-defects.md"
DEFECTS = [f"D{number}" for number in range(1, 23)]
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> dict[str, list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if re.match(r"\| D\d+ \|", line)]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip(): row for row in cells}


@cache
def functions(path: str) -> dict[str, ast.FunctionDef]:
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def pinned_by(function: ast.FunctionDef) -> set[str]:
    """The defects that a test hands to `still_broken` or `still_raises`."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    named = [call for call in calls if getattr(call.func, "id", "").startswith("still_")]
    return {call.args[0].value for call in named if isinstance(call.args[0], ast.Constant)}


def test_the_table_has_every_defect_once_and_in_order():
    lines = TABLE.read_text().splitlines()
    assert [m[1] for line in lines if (m := re.match(r"\| (D\d+) \|", line))] == DEFECTS
    assert {len(row) for row in rows().values()} == {5}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_pinning_tests_of_a_row_are_those_that_pin_its_defect(defect):
    named = set(REFERENCE.findall(rows()[defect][3]))
    found = {
        (f"tests/upstream/{file.name}", name)
        for file in (ROOT / "tests" / "upstream").glob("test_*.py")
        for name, function in functions(f"tests/upstream/{file.name}").items()
        if name.startswith("test_") and defect in pinned_by(function)
    }
    assert found, f"no test pins {defect}"
    assert named == found


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_tests_that_show_tfdml_right_exist(defect):
    cell = rows()[defect][4]
    named = REFERENCE.findall(cell)
    assert named or cell == "not yet"
    for path, name in named:
        assert name.startswith("test_") and name in functions(path), f"{path} has no {name}"
