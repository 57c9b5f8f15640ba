"""Processes that are killed while they save: what they said was saved is there, and nothing torn is ever restored."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkpoint.jobs import restore, same_as_saved, save_steps, steps_in
from tfdml.checkpoint.damage import Damaged
from tfdml.checkpoint.directory import SnapshotDirectory

PROGRAM = Path(__file__).with_name("saving_process.py")
SIZE = 100_000  # 1.6 MB a snapshot


def start(directory, task=0, num_tasks=1, last=10**6, meeting="", *more):
    arguments = [directory, task, num_tasks, SIZE, last, meeting, *more]
    return subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])},
    )


def kill_after(processes, victim, seconds):
    """Let all restore, kill one after `seconds` and the rest after it; return the last step said to be saved."""
    try:
        first = [process.stdout.readline() for process in processes]
        assert all(line.startswith("restored") for line in first), [
            p.stderr.read() for p in processes
        ]
        time.sleep(seconds)
        processes[victim].send_signal(signal.SIGKILL)
        time.sleep(0.05 if len(processes) > 1 else 0)
    finally:
        for process in processes:
            process.kill()
    lines = [line for process in processes for line in process.communicate()[0].split("\n")]
    return max((int(line.split()[1]) for line in [*first, *lines] if line.strip()), default=0)


def check_after_kill(directory, said):
    restored = restore(directory)
    if restored is None:
        assert said == 0
        return
    assert restored.position.global_step >= said, "a snapshot that was said to be saved is gone"
    assert same_as_saved(restored, SIZE)
    for name in steps_in(directory):  # all that have a manifest are whole, not the newest only
        snapshots = SnapshotDirectory(directory)
        (manifest,) = (m for m in snapshots.listing().snapshots if m.name.step == name)
        try:
            assert snapshots.collect(manifest.name, len(manifest.parts)) == list(manifest.parts)
        except Damaged as error:
            raise AssertionError(f"{manifest.name}: {error}") from None


def kill_again_and_again(directory, num_tasks, moments, seed):
    chosen = random.Random(seed)
    for number in range(moments):
        meeting = directory.parent / f"meeting{number}"
        meeting.mkdir()
        processes = [start(directory, task, num_tasks, 10**6, meeting) for task in range(num_tasks)]
        said = kill_after(processes, chosen.randrange(num_tasks), chosen.uniform(0, 0.3))
        check_after_kill(directory, said)
    assert steps_in(directory), "nothing was saved before the kills, so they tested nothing"
    before = restore(directory).position.global_step
    save_steps(directory, [before + 1])
    assert not list(directory.rglob("*.partial"))
    assert len(list(directory.glob("snapshot-*"))) <= 2, "what the killed ones left is gone"


@pytest.mark.parametrize("num_tasks", [1, 2])
def test_killed_at_some_moments(tmp_path, num_tasks):
    kill_again_and_again(tmp_path / "job", num_tasks, 3, seed=num_tasks)


@pytest.mark.slow
@pytest.mark.parametrize("num_tasks", [1, 2])
def test_killed_at_twenty_moments(tmp_path, num_tasks):
    kill_again_and_again(tmp_path / "job", num_tasks, 20, seed=7 * num_tasks)


def test_two_processes_save_and_go_on(tmp_path):
    for last in (2, 4):
        meeting = tmp_path / f"meeting{last}"
        meeting.mkdir()
        processes = [start(tmp_path / "job", task, 2, last, meeting) for task in range(2)]
        outputs = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], outputs
        assert {output for output, _ in outputs} == {
            "restored 0\nsaved 1\nsaved 2\n" if last == 2 else "restored 2\nsaved 3\nsaved 4\n"
        }
    assert steps_in(tmp_path / "job") == [3, 4]


def test_the_end_of_a_process_waits_for_its_part(tmp_path):
    process = start(tmp_path, 0, 1, 1, "", "leave-while-writing")
    output = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert restore(tmp_path).position.global_step == 1, "nobody committed the last one"
    (part,) = tmp_path.glob("snapshot-*00002-*/*")
    assert part.name == "task-00000.bin", "the part is whole, and nothing has a temporary name"
