"""Planted causes are found and named: two real processes, each on a core of its own."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.monitoring import jobs
from tfdml.monitoring.json_lines import read_all
from tfdml.monitoring.records import PARTS
from tfdml.testing import WorkerError, run_workers

ROOT = Path(__file__).parents[2]
HEAVY = {"width": 1024, "batch": 256, "batches": 24}  # tens of milliseconds to compute
LONG = {"batches": 48}  # longer than what is read ahead between epochs

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def lines(model_dir, kind):
    return [line for line in read_all(model_dir)["worker 0"] if line["kind"] == kind]


def named(model_dir):
    return [(e["task"], e["cause"]) for e in lines(model_dir, "event") if e["event"] == "straggler"]


def medians(model_dir):
    """Of each part of each task, seconds a step; and the medians of the shares that are unexplained."""
    anatomies = lines(model_dir, "anatomy")
    assert len(anatomies) >= 5
    found = []
    for task in range(len(anatomies[0]["tasks"])):
        of_task = [each["tasks"][task] for each in anatomies]
        found.append(
            {part: statistics.median(each["parts"][part] for each in of_task) for part in PARTS}
            | {
                "share": statistics.median(
                    e["parts"]["unexplained"] / e["step_seconds"] for e in of_task
                )
            }
        )
    return found


@pytest.mark.slow
@two_cores
def test_a_slow_input(tmp_path):
    run_workers(
        jobs.fit,
        2,
        (str(tmp_path), "multi_worker"),
        {"plant": jobs.slow_input, "making": LONG},
        timeout_seconds=200,
    )
    assert named(tmp_path) == [("worker 1", "input")]
    first, second = medians(tmp_path)
    assert second["input"] > 10e-3 > first["input"]
    assert first["waiting"] > 10e-3 > second["waiting"]


@pytest.mark.slow
@two_cores
def test_a_busy_loop_beside(tmp_path):
    run_workers(
        jobs.fit,
        2,
        (str(tmp_path), "multi_worker"),
        {"plant": jobs.busy_loop, "epochs": 4, "making": HEAVY},
        timeout_seconds=200,
    )
    # The kernel gives it more and less of its core: it may come and go, but for no other cause.
    assert set(named(tmp_path)) == {("worker 1", "CPU contention")}


@pytest.mark.slow
@two_cores
@pytest.mark.skipif(shutil.which("tc") is None, reason="needs tc")
def test_a_slow_link(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from limited_link import BURST, DEVICE, LATENCY, Link

    from tfdml.errors import ConfigError

    with ExitStack() as stack:
        try:
            link = stack.enter_context(Link(2))
        except ConfigError as error:
            pytest.skip(str(error))
        # Only what worker 1 sends is slow.
        limit = (
            f"tc qdisc replace dev {DEVICE} root tbf rate 50mbit burst {BURST} latency {LATENCY}"
        )
        assert link.start(1, limit.split()).wait(timeout=30) == 0
        cores = sorted(os.sched_getaffinity(0))
        program = [sys.executable, "-m", "tests.monitoring.linked_worker", str(tmp_path)]
        workers = [
            link.start(
                index,
                ["taskset", "-c", str(cores[index]), *program],
                env=link.environment(index) | {"TF_CPP_MIN_LOG_LEVEL": "2"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
            )
            for index in range(2)
        ]
        outputs = [worker.communicate(timeout=200)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert named(tmp_path) == [("worker 1", "slow link")]
    for task in medians(tmp_path):
        assert task["communicating"] + task["waiting"] > 5 * task["computing"]


@pytest.mark.slow
@two_cores
def test_nobody_is_named_without_a_cause_and_all_is_explained(tmp_path):
    run_workers(
        jobs.fit,
        2,
        (str(tmp_path), "multi_worker"),
        {"plant": jobs.cores_only, "epochs": 4, "making": HEAVY},
        timeout_seconds=200,
    )
    assert named(tmp_path) == []
    for task in medians(tmp_path):
        assert abs(task["share"]) <= 0.05, task
        assert task["computing"] > 0 and task["communicating"] > 0


@pytest.mark.slow
def test_a_changed_weight(tmp_path):
    """Of one worker, after 24 steps; measured every 8 steps, so it is found at step 32 at the latest."""
    with pytest.raises(WorkerError) as raised:
        run_workers(jobs.fit, 2, (str(tmp_path), "multi_worker"), {"plant": jobs.changed_weight})
    assert "ReplicasDiffer: replicas hold different weights at step 32" in str(raised.value)
    assert "'sequential/dense_1/kernel' on worker 1 is not that of the others" in str(raised.value)
    (event,) = [e for e in lines(tmp_path, "event") if e["event"] == "desync"]
    assert (event["step"], event["task"]) == (32, "worker 1")
    assert event["cause"] == "sequential/dense_1/kernel"
    assert lines(tmp_path, "ended")[-1]["status"] == "failed"


@pytest.mark.slow
def test_a_changed_weight_can_be_a_warning(tmp_path):
    history = run_workers(
        jobs.fit,
        2,
        (str(tmp_path), "multi_worker"),
        {"plant": jobs.changed_weight, "on_desync": "warn"},
    )
    assert len(history[0]["loss"]) == jobs.EPOCHS
    events = [e for e in lines(tmp_path, "event") if e["event"] == "desync"]
    assert [e["step"] for e in events] == [32]
