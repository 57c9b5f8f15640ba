"""A short form of benchmarks/faults.py, and that it notices when a job does not come to the same end."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import faults
import faults_scenarios
import pytest
from faults_jobs import CAME, Job, Launch, Line
from faults_scenarios import Found, Undisturbed, check, hang, kill, kill_worker_in_rename, preempt

EPOCHS = 2  # 58 steps, a save after every 7th
SCENARIOS = {
    "chief, in the rename of a manifest": partial(kill, "kill:chief,rename=manifest.json,nth=3"),
    "worker, in that rename": partial(kill_worker_in_rename, 2, 4),
    "worker, in a save, and in the restore after it": partial(
        kill, "kill:worker=1,write=task-00001.bin,nth=5;kill:worker=1,start=1,read=task-00001.bin"
    ),
    "chief, between steps": partial(kill, "kill:chief,step=40"),
    "deadlock": partial(hang, "deadlock", 1, 33),
    "SIGTERM": partial(preempt, "preempt:worker=2,step=24"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = faults.Runs(tmp_path_factory.mktemp("faults"), EPOCHS)
    return runs, runs.undisturbed()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_weights_whatever_happens(runs, name):
    runs, undisturbed = runs
    runs.run([faults_scenarios.Scenario(name, "", SCENARIOS[name])], undisturbed)
    (found,) = runs.found[name]
    assert found.problems == []
    assert found.num_came == found.num_faults > 0


@pytest.mark.slow
def test_a_job_left_alone_skips_steps_and_leaves_nothing(runs):
    """Otherwise the loss scale that restarts bring back would never have mattered."""
    runs, undisturbed = runs
    assert undisturbed.steps == 29 * EPOCHS
    assert undisturbed.skipped > 0
    assert runs.found["undisturbed"][0].problems == []


UNDISTURBED = Undisturbed("a1", {0: [[1, 2, 3]], 1: [[4, 5, 6]]}, 0.5, 1, 9.0, 4.0)
FIRST = {0: ([1, 2], "a1"), 1: ([3], "a1")}
AGAIN = {0: ([4, 5], "a1"), 1: ([6], "a1")}


@pytest.fixture
def job(tmp_path):
    """Two tasks, which train a step, die, and train the other one."""

    def write(start, step, tasks):
        for task, (ids, digest) in tasks.items():
            end = {"hash": digest, "loss": 0.5} if start else {}
            lines = [{"entered": 1.0}, {"step": step, "time": 2.0, "ids": ids}, end]
            text = "".join(f"{json.dumps(line)}\n" for line in lines if line)
            torn = '{"step": 1, "ti' if start == 0 else ""
            (tmp_path / f"steps-0-{start}-{task}.jsonl").write_text(text + torn)

    job = Job(tmp_path, tmp_path, EPOCHS)
    job.launches.append(Launch(0, [Line(1.0, f"[worker 0{CAME}kill:chief,step=1")], 1.0, []))
    job.write = write
    write(0, 0, FIRST)
    write(1, 1, AGAIN)
    return job


def test_a_job_as_it_should_be(job):
    found = check(job, UNDISTURBED, 1)
    assert found.problems == []
    assert (found.num_came, found.loss) == (1, 0.5)


@pytest.mark.parametrize(
    ("again", "problem"),
    [
        ({0: ([4, 5], "a1"), 1: ([6], "b2")}, r"hashes \['a1', 'b2'\]"),
        ({0: ([4, 5], "a1"), 1: ([7], "a1")}, r"other ids in 1 steps, the first \[1\]"),
        ({0: ([5, 4], "a1"), 1: ([6], "a1")}, r"other ids in 1 steps, the first \[1\]"),
        ({0: ([4, 5], ""), 1: ([6], "")}, r"hashes \[''\]"),
    ],
)
def test_another_end_is_noticed(job, again, problem):
    job.write(1, 1, again)
    with pytest.raises(AssertionError, match=problem):
        assert not check(job, UNDISTURBED, 1).problems, check(job, UNDISTURBED, 1).problems


def test_other_trouble_is_noticed(job):
    job.write(1, 0, {0: ([1, 2], "a1"), 1: ([3], "a1")})
    job.launches = [Launch(None, [], 1.0, ["process 17"])]
    assert check(job, UNDISTURBED, 1).problems == [
        "exit status None",
        "0 of 1 faults came",
        "1 steps never trained, the first [1]",
        "left behind: ['process 17']",
    ]


def test_the_table_counts_what_was_obtained():
    good = Found(num_faults=2, num_came=2, restart_seconds=4.0, setup_seconds=2.0)
    bad = Found(["left behind: x"], num_faults=1, named_seconds=6.0)
    resized = Found(loss=0.7)
    found = {
        "undisturbed": [Found()],
        "kills": [good, bad],
        "3 workers after 4: same ids": [resized],
    }
    others = [replace(UNDISTURBED, loss=loss, seconds=11.0) for loss in (0.4, 0.6)]
    rows = faults.rows_of(found, UNDISTURBED, others)
    values = {(row.name.partition(",")[0], row.unit): row.value for row in rows}
    assert values["undisturbed run", "s"] == 11.0
    assert values["kills", "of 2"] == 1
    assert values["faults that came", "of 3"] == 2
    assert values["scenarios that left something behind", ""] == 1
    assert values["kill to the next trained step", "x"] == 2.0
    assert values["3 workers after 4: test loss off by", "deviations"] == pytest.approx(2.0)
