"""The exchange and time-to-accuracy benchmarks: their ratios, their rows, and that they measure the right thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import exchange
import pytest
import time_to_accuracy
from exchange import ONE_SHOT, TWO_PHASE, Measured
from linkbench import Link

from tfdml.errors import ConfigError

BENCHMARKS = Path(exchange.__file__).parent

needs_a_link = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core a worker")


@pytest.fixture
def namespaces_are_allowed() -> None:
    try:
        with Link(2):
            pass
    except ConfigError as error:
        pytest.skip(str(error))


def measured(workers: int, rate: str, **extra: list[float]) -> Measured:
    seconds = {
        "TF float32, 1 pack": [0.3, 0.2, 0.1],
        "TF float32, 4 packs": [0.1, 0.1, 0.9],
        "TF float32, 16 packs": [0.4],
        "TF float16": [0.05],
        "int8": [0.04, 0.03, 0.9],
        "int4": [0.02],
        "DDP fp16 hook": [0.08],
        "DDP PowerSGD r1": [0.04],
        "DDP PowerSGD r4": [0.05],
        **extra,
    }
    return Measured(workers, {rate: seconds}, skipped={"topk": "not there"})


def values(rows) -> dict:
    return {(row.name, row.unit, row.baseline): row for row in rows}


BEST = "TF float32, best of 1, 4, 16 packs"


def test_ratios_are_of_medians_and_to_the_best_of_each_side():
    rows = values(exchange.rows_of(measured(2, "1gbit")))
    assert rows["2 workers, 1gbit: int8", "ms", ""].value == pytest.approx(40)
    int8 = rows["2 workers, 1gbit: int8", "ratio", BEST]
    assert int8.value == pytest.approx(0.4) and (int8.floor, int8.target) == (0.4, 0.3)
    for hook, value in (("fp16 hook", 0.25), ("PowerSGD r1", 0.5), ("PowerSGD r4", 0.4)):
        int4 = rows["2 workers, 1gbit: int4", "ratio", f"DDP {hook}"]
        assert int4.value == pytest.approx(value) and int4.floor == 1.0
    assert {row.better for row in rows.values()} == {"lower"}
    assert ("2 workers, 1gbit: TF float32, 1 pack", "ratio", BEST) not in rows


def test_what_did_not_run_has_a_reason_and_no_figure():
    rows = values(exchange.rows_of(measured(2, "1gbit")))
    assert rows["2 workers, 1gbit: topk", "ms", "not there"].value is None
    assert rows["2 workers, 1gbit: topk", "ratio", BEST].value is None
    assert rows["2 workers, 1gbit: powersgd", "ratio", "DDP fp16 hook"].value is None


def test_bounds_belong_to_two_workers_at_1_gbit():
    for workers, rate in ((4, "1gbit"), (2, "200mbit")):
        rows = exchange.rows_of(measured(workers, rate))
        assert all(row.floor is None for row in rows)


def test_two_phases_are_compared_with_one_shot():
    rows = values(exchange.rows_of(measured(4, "none", **{ONE_SHOT: [0.4], TWO_PHASE: [0.1]})))
    row = rows[f"4 workers, none: {TWO_PHASE}", "ratio", ONE_SHOT]
    assert row.value == pytest.approx(0.25) and row.floor == 1.0


def test_sums_that_are_wrong_stop_the_benchmark():
    assert exchange.check("fp16", {"error": 1e-3}) == {"error": 1e-3}
    for error in (0.1, float("nan")):
        with pytest.raises(RuntimeError, match="none: the sums are wrong by"):
            exchange.check("none", {"error": error})


def run_script(name: str, *options: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, name, *options],
        cwd=BENCHMARKS,
        env={name: value for name, value in os.environ.items() if name != "TFDML_TORCH_PYTHON"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@needs_a_link
@pytest.mark.usefixtures("namespaces_are_allowed")
def test_a_short_run_exchanges_what_it_says(tmp_path):
    path = tmp_path / "rows.json"
    options = [
        "--quick",
        "--rounds=1",
        "--codecs=none,fp16,absent",
        "--tensors=2",
        f"--json={path}",
    ]
    done = run_script("exchange.py", *options)
    rows = {(row["name"], row["unit"]): row for row in json.loads(path.read_text())}
    assert "Not run: absent: `compression` must be one of" in done.stdout
    for side in (*exchange.TF_SIDES, "none", "fp16"):
        assert rows[f"2 workers, 1gbit: {side}", "ms"]["value"] > 0
    absent = rows["2 workers, 1gbit: absent", "ms"]
    assert absent["value"] is None and "`compression` must be one of" in absent["baseline"]


# -- time to accuracy


def run(accuracies: list[float], step_seconds: float) -> dict:
    steps = [10 * (number + 1) for number in range(len(accuracies))]
    return {
        "steps": steps,
        "accuracies": accuracies,
        "step_seconds": step_seconds,
        "step_bytes": 1e6,
    }


def test_time_to_the_target_is_paired_by_seed():
    dense = [run([0.5, 0.96, 0.9], 1.0), run([0.96, 0.9, 0.9], 1.0), run([0.5, 0.5, 0.95], 1.0)]
    int8 = [run([0.5, 0.5, 0.96], 0.1), run([0.5, 0.96, 0.9], 0.1), run([0.96, 0.9, 0.9], 0.1)]
    never = [run([0.1, 0.1, 0.1], 0.1)] * 3
    rows = values(
        time_to_accuracy.rows_of(
            {"none": dense, "int8": int8, "topk": never, "x": [{"skipped": "why"}]}
        )
    )
    assert rows["none: to the target", "s", ""].value == 20
    assert rows["int8: to the target", "s", ""].value == pytest.approx(2)
    assert rows["int8: received to the target", "MB", ""].value == pytest.approx(20)
    ratio = rows["int8: times sooner at the target", "ratio", "none"]
    # Of 20/3, 10/2, 30/1: a ratio of medians would be 10.
    assert ratio.value == pytest.approx(20 / 3) and (ratio.floor, ratio.target) == (2.0, 5.0)
    assert rows["topk: to the target", "s", "target not reached"].value is None
    assert rows["topk: times sooner at the target", "ratio", "none"].value is None
    assert rows["x: to the target", "s", "why"].value is None


@pytest.mark.slow
@needs_a_link
@pytest.mark.usefixtures("namespaces_are_allowed")
def test_a_short_training_counts_its_bytes(tmp_path):
    path = tmp_path / "rows.json"
    options = ["--quick", "--steps=120", "--rate=1gbit", "--codecs=int8,absent", f"--json={path}"]
    run_script("time_to_accuracy.py", *options)
    rows = {(row["name"], row["unit"]): row for row in json.loads(path.read_text())}
    assert rows["absent: to the target", "s"]["value"] is None
    for codec in ("none", "int8"):
        assert rows[f"{codec}: accuracy at the end", "%"]["value"] > 90
    dense, int8 = (rows[f"{c}: received to the target", "MB"]["value"] for c in ("none", "int8"))
    # Both reach it within a few evaluations of each other; a step has about 4 MB and 1 MB.
    assert 0 < 2 * int8 < dense
