"""The benchmark of parameter servers: its ratios and bounds, and a short run of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import parameter_server
import pytest
from linkbench import Link
from parameter_server_job import HOSTS, NUM_HOSTS

from tfdml.errors import ConfigError

BENCHMARKS = Path(parameter_server.__file__).parent


def values(rows) -> dict:
    return {(row.name, row.unit): row for row in rows}


def test_ratios_are_taken_round_by_round():
    sides = {"Trainer": [1.0, 2.0, 8.0], "by hand": [2.0, 2.0, 4.0]}
    rows = values(parameter_server.loop_rows({"steps": 8, "seconds": {"SGD": sides}}))
    # Of 2, 1 and 0.5; a ratio of medians would be 1 too, one of means 0.73.
    row = rows["SGD: Trainer", "ratio"]
    assert row.value == 1.0 and (row.floor, row.target) == (0.95, 1.0)
    assert rows["SGD: Trainer", "steps/s"].value == 4.0


def test_the_bound_counts_the_pull_and_the_push():
    # A million weights: 4 MB, of which int8 pushes a quarter.
    told = {"dense": 4_000_000, "push int8": 1_000_000, "pull bf16, push int8": 1_000_000}
    found = {"weights": 1_000_000, "told": told}
    assert parameter_server.bound(found, "push int8") == pytest.approx(8 / 5)
    assert parameter_server.bound(found, "pull bf16, push int8") == pytest.approx(8 / 3)


def test_rows_of_the_link_have_the_floors_of_the_issue():
    sides = ("dense", "push int8", "pull bf16, push int8", "pull bf16, push topk 1%")
    turn = {"seconds": 2.0, "sent": 8e6, "received": 16e6}
    found = {
        "steps": 4,
        "weights": 1_000_000,
        "told": dict.fromkeys(sides, 1_000_000),
        "turns": {side: [turn, turn] for side in sides},
    }
    rows = values(parameter_server.link_rows(found))
    assert rows["200mbit: pull bf16, push int8", "ratio"].floor == 2.0
    assert rows["200mbit: pull bf16, push topk 1%", "ratio"].floor == 2.5
    assert rows["200mbit: push int8", "ratio"].floor is None
    assert rows["dense: sent by workers", "MB/step"].value == 2.0
    assert rows["dense: received by workers", "MB/step"].value == 4.0


def test_growth_is_of_the_largest_table_over_the_smallest():
    seconds = {"10000": [1.0, 2.0], "100000": [9.0, 9.0], "1000000": [1.2, 2.4]}
    found = {"steps": 10, "ids": 64, "training": seconds, "updates": seconds}
    rows = values(parameter_server.sparse_rows(found))
    row = rows["step, table of 1,000,000 rows", "ratio"]
    assert row.value == pytest.approx(1.2) and row.floor == 1.5 and row.better == "lower"


def test_no_worker_shares_a_host():
    hosts = [HOSTS["worker 0"], HOSTS["worker 1"], HOSTS["ps 0"], HOSTS["ps 1"]]
    assert sorted(hosts) == list(range(NUM_HOSTS))


@pytest.fixture
def namespaces_are_allowed() -> None:
    try:
        with Link(2):
            pass
    except ConfigError as error:
        pytest.skip(str(error))


def quick_run(tmp_path: Path, parts: str) -> dict:
    path = tmp_path / "rows.json"
    command = [sys.executable, "parameter_server.py", "--quick", f"--parts={parts}"]
    done = subprocess.run(
        [*command, f"--json={path}"], cwd=BENCHMARKS, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(path.read_text())
    assert all(row["value"] > 0 for row in rows), rows
    return {(row["name"], row["unit"]): row["value"] for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quick_run_on_this_host(tmp_path):
    rows = quick_run(tmp_path, "loop,table,sparse")
    assert ("Adam, 1 a closure: Trainer", "ratio") in rows
    assert ("Adam, 8 a closure: Trainer", "ratio") in rows
    assert ("step, table of 100,000 rows", "ratio") in rows
    assert rows["table of 0.02 GB in 1 shards", "MB"] == pytest.approx(20.48)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("namespaces_are_allowed")
def test_a_quick_run_counts_the_bytes_of_the_link(tmp_path):
    rows = quick_run(tmp_path, "link")
    for side in parameter_server.PUSH_ALONE:
        told = rows[f"{side}: told by the optimizer", "MB/step"]
        sent = rows[f"{side}: sent by workers", "MB/step"]
        # The headers of packets, and what is asked for and answered, come on top.
        assert told < sent < 1.25 * told + 0.1
    pulled = [rows[f"{side}: received by workers", "MB/step"] for side in ("dense", "pull bf16")]
    assert pulled[1] == pytest.approx(pulled[0] / 2, rel=0.1)
