"""What is read of a run while its files grow, tear, and begin anew."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import pytest

from tests.runs.views.made_runs import BEGAN, MadeRun, finished_run, running_run
from tfdml.errors import DataError
from tfdml.monitoring.json_lines import path_of
from tfdml.runs.views.job import Job
from tfdml.runs.views.series import Series
from tfdml.runs.views.task import duration


def test_a_finished_run(tmp_path: Path) -> None:
    job = Job(finished_run(tmp_path))
    assert [task.name for task in job.tasks] == ["worker 0", "worker 1"]
    assert (job.step, job.total_steps, job.restarts) == (30, 30, 0)
    assert job.status(time.time()) == "finished"
    assert list(job.series("validation", "epoch", "loss").steps) == [10, 20, 30]
    assert job.anatomy_of("worker 1")["computing"] == pytest.approx(0.004)
    assert job.chief.settings == {"train.epochs": 3}


def test_a_run_that_goes_on_is_followed(tmp_path: Path) -> None:
    run = running_run(tmp_path)
    job = Job(tmp_path)
    assert (job.step, job.status(time.time())) == (15, "training")
    run.train(15, 18)
    job.refresh()
    assert job.step == 18
    assert len(job.series("train", "step", "loss")) == 18
    assert job.tasks[1].state(run.time + 57) == "silent 57 s"


def test_a_torn_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    run = running_run(tmp_path)
    path = path_of(tmp_path, "worker 0")
    run.train(15, 16)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    job = Job(tmp_path)
    before = len(job.series("train", "anatomy", "worker 0/all"))
    job.refresh()
    assert len(job.series("train", "anatomy", "worker 0/all")) == before == 15
    with path.open("ab") as file:
        file.write(lines[-1][20:])
    job.refresh()
    assert len(job.series("train", "anatomy", "worker 0/all")) == 16


def test_what_a_killed_process_has_torn_is_left_out(tmp_path: Path) -> None:
    MadeRun(tmp_path).start()
    with path_of(tmp_path, "worker 0").open("ab") as file:
        file.write(b'{"kind": "scalars", "st')
    run = MadeRun(tmp_path)  # opens the files as a task that is started again does
    run.start()
    run.train(0, 4)
    job = Job(tmp_path)
    assert (job.step, job.restarts) == (4, 1)
    assert job.status(time.time()) == "lost"


def test_steps_that_were_lost_are_not_counted_twice(tmp_path: Path) -> None:
    run = MadeRun(tmp_path)
    run.start()
    run.train(0, 17)  # and it is killed
    run.time += 5
    run.start(10)
    assert Job(tmp_path).series("train", "step", "loss").steps[-1] == 10
    run.train(10, 30)
    run.end(30)
    job = Job(tmp_path)
    assert job.restarts == 1
    assert list(job.series("train", "step", "loss").steps) == list(range(1, 31))
    assert [start.last_step for start in job.chief.starts] == [17, 30]


def test_a_new_training_in_the_same_directory_is_no_restart(tmp_path: Path) -> None:
    finished_run(tmp_path)
    run = MadeRun(tmp_path)
    run.start()
    run.train(0, 3)
    job = Job(tmp_path)
    assert (job.step, job.restarts) == (3, 0)
    assert len(job.series("validation", "epoch", "loss")) == 0


def test_fewer_workers_after_a_restart(tmp_path: Path) -> None:
    run = MadeRun(tmp_path, 3)
    run.start()
    run.train(0, 10)
    smaller = MadeRun(tmp_path, 2)
    smaller.time = BEGAN + 20
    smaller.start(10)
    assert [task.name for task in Job(tmp_path).tasks] == ["worker 0", "worker 1"]


def test_a_file_that_is_another_one_now(tmp_path: Path) -> None:
    run = running_run(tmp_path)
    job = Job(tmp_path)
    for task in run.tasks:
        path_of(tmp_path, task).unlink()
    again = MadeRun(tmp_path)
    again.start(pid=os.getpid())
    again.train(0, 2)
    job.refresh()
    assert job.step == 2


def test_lines_of_another_version_are_left_out(tmp_path: Path) -> None:
    run = running_run(tmp_path)
    with path_of(tmp_path, "worker 0").open("ab") as file:
        for line in (
            {"kind": "scalars", "time": 1.0},
            {"kind": "new"},
            ["no mapping"],
            {"kind": 3},
        ):
            file.write(json.dumps(line).encode() + b"\n")
    run.train(15, 16)
    assert Job(tmp_path).step == 16


def test_stragglers_come_and_go(tmp_path: Path) -> None:
    run = running_run(tmp_path)
    job = Job(tmp_path)
    run.event(12, "straggler", "worker 1", "input", "worker 1 is a straggler")
    job.refresh()
    assert job.stragglers() == {"worker 1": "input"}
    run.event(15, "straggler_gone", "worker 1", "input", "as fast as the others again")
    job.refresh()
    assert job.stragglers() == {}


@pytest.mark.parametrize("exists", [True, False])
def test_a_directory_without_a_run(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path if exists else tmp_path / "none"
    with pytest.raises(DataError, match="Give the --model_dir of a"):
        Job(directory)


def test_series_are_thinned_by_means_and_keep_gaps() -> None:
    series = Series()
    for step in range(8):
        series.add(step, math.nan if step in (2, 3, 4) else float(step))
    points = series.thinned(4)
    assert points[0] == (0.5, 0.5)
    assert points[1][0] == 2.5
    assert math.isnan(points[1][1])
    assert points[2] == (4.5, 5.0)
    assert series.mean() == (0 + 1 + 5 + 6 + 7) / 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min"), (100, "1 min 40 s"), (3600, "1 h"), (90061, "1 d 1 h")],
)
def test_durations_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_warning_may_come_before_the_start(tmp_path: Path) -> None:
    MadeRun(tmp_path).event(0, "warning", "", "Prometheus", "Prometheus is left out")
    run = MadeRun(tmp_path)
    run.start()
    assert [event["cause"] for event in Job(tmp_path).chief.events] == ["Prometheus"]
