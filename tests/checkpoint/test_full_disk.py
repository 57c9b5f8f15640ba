"""A disk that is full: the failure is told once, older snapshots stay, and saving works again when there is room."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.checkpoint.jobs import at, contents, find, run_tasks, same_as_saved, steps_in
from tfdml.checkpoint import Snapshots

SIZE = 100_000  # 1.8 MB a snapshot


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tfdml-test", disk], check=False
    )
    if made.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_old_snapshots_stay_and_saving_goes_on_later(small_disk):
    snapshots = Snapshots(small_disk)
    assert snapshots.save(at(1), contents(1, size=SIZE)).saved
    filler = small_disk / "filler"
    with open(filler, "wb") as file:
        while file.tell() < 3_200_000:
            file.write(bytes(100_000))
    outcome = snapshots.save(at(2), contents(2, size=SIZE))
    assert not outcome.saved
    assert "the snapshot of step 2 was not saved" in outcome.error
    assert "no space left on device; free some space" in outcome.error
    assert snapshots.wait() is None, "told once"
    restored = find(small_disk)
    assert restored.position == at(1) and same_as_saved(restored, SIZE)
    assert len(list(small_disk.glob("snapshot-*"))) == 1, "the failed one takes no room"
    filler.unlink()
    assert snapshots.save(at(3), contents(3, size=SIZE)).saved
    assert same_as_saved(find(small_disk), SIZE) and steps_in(small_disk) == [1, 3]


def test_all_moments_at_which_a_disk_can_become_full(small_disk):
    """The room grows by 4 KB a try, so that every file of a save meets the end of it."""
    snapshots = Snapshots(small_disk, keep=1)
    assert snapshots.save(at(1), contents(1)).saved
    snapshots._saver._work.wait()
    errors, saved, last = set(), 0, 1
    for room in range(15):
        free = os.statvfs(small_disk).f_bavail
        filler = small_disk / "filler"
        filler.write_bytes(bytes(4096 * (free - room)))
        outcome = snapshots.save(at(room + 2), contents(room + 2))
        filler.unlink()
        snapshots._saver._work.wait()  # what is superfluous is removed after the outcome is known
        if outcome.saved:
            saved, last = saved + 1, room + 2
        else:
            errors.add("write its part" if "write its part" in outcome.error else "commit it")
        restored = find(small_disk)
        assert restored.position == at(last) and same_as_saved(restored), outcome
        assert not list(small_disk.rglob("*.partial"))
    assert saved and errors == {"write its part", "commit it"}


def test_two_tasks_of_which_one_finds_no_room(small_disk, tmp_path):
    def work(task, of_each):
        snapshots = Snapshots(small_disk)
        snapshots.start(task=task, num_tasks=2, of_each=of_each)
        size = 1_000_000 if task else 1000  # task 1: 4 MB, of which one finds room and two do not
        return [snapshots.save(at(step), contents(step, task, size)).error for step in (1, 2, 3)]

    for errors in run_tasks(2, work):
        assert errors[0] == ""
        assert all("task 1 could not write its part" in error for error in errors[1:])
    assert steps_in(small_disk) == [1] and len(list(small_disk.glob("snapshot-*"))) == 1
