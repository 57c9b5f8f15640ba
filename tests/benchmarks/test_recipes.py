"""benchmarks/recipes.py: what it makes of the files of a job, and that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import recipes

    yield recipes
    sys.modules.pop("recipes")


def write(path: Path, pid: int, rates: list[float], task: str) -> None:
    lines = [{"kind": "started", "task": task, "pid": pid}]
    for rate in rates:
        scalars = {"kind": "scalars", "values": {"examples_per_second": rate}}
        lines += [
            {**scalars, "scope": "epoch", "split": "train"},
            {"kind": "scalars", "values": {"loss": 1.0}, "scope": "epoch", "split": "validation"},
        ]
    path.write_text("\n".join(map(json.dumps, lines)))


def test_the_first_epoch_does_not_count_and_memory_is_that_of_the_largest_task(tmp_path, recipes):
    write(tmp_path / "worker-0.jsonl", 7, [1.0, 30.0, 20.0, 40.0], "worker 0")
    write(tmp_path / "worker-1.jsonl", 8, [], "worker 1")
    found = recipes.read(tmp_path, {7: 100, 8: 300, 9: 50})
    assert found == recipes.Found(30.0, 300, None)


def test_servers_have_a_figure_of_their_own(tmp_path, recipes):
    write(tmp_path / "chief-0.jsonl", 7, [1.0, 2.0], "chief 0")
    assert recipes.read(tmp_path, {7: 100, 8: 300, 9: 50}) == recipes.Found(2.0, 100, 300)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_quick(tmp_path):
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "recipes.py"), "--quick", f"--json={file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(file.read_text())
    assert [row["name"] for row in rows if row["unit"] == "ratio"] == [
        f"image_classifier, {name}" for name in ("default", "mirrored", "multi_worker")
    ]
    assert all(row["value"] > 0 for row in rows)
