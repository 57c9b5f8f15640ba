"""Several tasks: all restore the same snapshot, and what one cannot do, all hear of."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pytest

from tests.checkpoint.jobs import (
    at,
    contents,
    restore,
    run_tasks,
    same_as_saved,
    save_steps,
    steps_in,
)
from tfdml.checkpoint import Snapshots, part_file, saver
from tfdml.checkpoint.shared_check import check_shared, tell_all
from tfdml.errors import DataError


def started(directory, task, num_tasks, of_each, **options):
    snapshots = Snapshots(directory, **options)
    snapshots.start(task=task, num_tasks=num_tasks, of_each=of_each)
    return snapshots


def test_every_task_gets_its_own_part_and_the_model_of_the_chief(tmp_path):
    save_steps(tmp_path, [3, 6], num_tasks=3)

    def work(task, of_each):
        restored = started(tmp_path, task, 3, of_each).restore()
        own = restored.part(task).arrays("replicas")["dense/kernel/residual"]
        wanted = contents(6, task).arrays["replicas"]["dense/kernel/residual"]
        np.testing.assert_array_equal(own, wanted)
        return restored.position, same_as_saved(restored)

    assert run_tasks(3, work) == [(at(6), True)] * 3


@pytest.mark.parametrize(("before", "now"), [(4, 3), (3, 4), (2, 1), (1, 2)])
def test_another_number_of_tasks_gets_all_parts(tmp_path, before, now):
    save_steps(tmp_path, [5], num_tasks=before)

    def work(task, of_each):
        parts = started(tmp_path, task, now, of_each).restore().parts("replicas")
        return len(parts), sum(part["dense/kernel/residual"].sum(dtype="float64") for part in parts)

    results = run_tasks(now, work)
    assert {result[0] for result in results} == {before}
    total = sum(
        contents(5, task).arrays["replicas"]["dense/kernel/residual"].sum(dtype="float64")
        for task in range(before)
    )
    assert all(result[1] == total for result in results)


def test_damage_that_one_task_finds_makes_all_fall_back(tmp_path, caplog):
    save_steps(tmp_path, [1, 2], num_tasks=3)
    (path,) = tmp_path.glob("*00002-*-0002/task-00002.bin")  # only task 2 reads it
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)

    def work(task, of_each):
        return started(tmp_path, task, 3, of_each).restore().position

    assert run_tasks(3, work) == [at(1)] * 3
    assert "task 2 found it damaged" in caplog.text
    assert "'replicas/dense/kernel/residual' in task-00002.bin" in caplog.text


def test_when_the_chief_finds_none_whole_all_tasks_stop(tmp_path):
    save_steps(tmp_path, [1], num_tasks=2)
    for path in tmp_path.glob("*/task-00000.bin"):
        path.write_bytes(b"")

    def work(task, of_each):
        return started(tmp_path, task, 2, of_each).restore()

    chief, other = run_tasks(2, work)
    assert isinstance(chief, DataError) and "none is whole" in str(chief)
    assert isinstance(other, DataError) and "the chief found no snapshot to go on from" in str(
        other
    )


def test_the_manifest_waits_for_the_slowest_part(tmp_path, monkeypatch):
    slow = threading.Event()
    write_part = part_file.write_part

    def write(path, author, data, placed):
        if author.task == 1:
            assert slow.wait(60)
        return write_part(path, author, data, placed)

    monkeypatch.setattr(saver, "write_part", write)

    def work(task, of_each):
        snapshots = started(tmp_path, task, 2, of_each)
        snapshots.begin(at(1), contents(1, task))
        unfinished = [snapshots.advance() for _ in range(20)]
        there = steps_in(tmp_path)
        of_each(0.0)
        if task == 1:
            slow.set()
        outcome = snapshots.wait()
        return unfinished == [None] * 20, there, outcome.saved, snapshots.pending

    assert run_tasks(2, work) == [(True, [], True, False)] * 2
    assert same_as_saved(restore(tmp_path))


def test_a_task_that_cannot_write_is_named_once_and_training_goes_on(tmp_path, monkeypatch):
    write_part = part_file.write_part

    def write(path, author, data, placed):
        if author.task == 1 and author.save == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_part(path, author, data, placed)

    monkeypatch.setattr(saver, "write_part", write)

    def work(task, of_each):
        snapshots = started(tmp_path, task, 3, of_each)
        return [snapshots.save(at(step), contents(step, task)).error for step in (1, 2, 3)]

    results = run_tasks(3, work)
    for task, (first, second, third) in enumerate(results):
        assert first == third == ""
        assert "the snapshot of step 2 was not saved" in second
        assert "task 1 could not write its part" in second
        reason = "no space left on device; free some space" if task == 1 else "its log says why"
        assert reason in second
    assert steps_in(tmp_path) == [1, 3]
    assert len(list(tmp_path.glob("snapshot-*"))) == 2, "the parts of the failed save are gone"


def test_a_chief_that_cannot_commit_is_heard_by_all(tmp_path, monkeypatch):
    def commit(*_args):
        raise OSError(errno.EROFS, "Read-only file system")

    def work(task, of_each):
        snapshots = started(tmp_path, task, 2, of_each)
        monkeypatch.setattr("tfdml.checkpoint.directory.SnapshotDirectory.commit", commit)
        return snapshots.save(at(1), contents(1, task)).error

    chief, other = run_tasks(2, work)
    assert "task 0 could not commit it (read-only file system)" in chief
    assert "task 0 could not commit it (its log says why)" in other
    assert not list(tmp_path.glob("snapshot-*"))


def test_a_part_of_an_earlier_run_is_not_committed(tmp_path, monkeypatch):
    """As after a crash: the name is the same, the bytes are of a run that ended."""

    def work(task, of_each):
        snapshots = started(tmp_path, task, 2, of_each)
        if task == 1:
            author = part_file.Author("ffffff", 1, 1)
            write = part_file.write_part
            monkeypatch.setattr(
                saver,
                "write_part",
                lambda path, who, *rest: write(path, author if who.task else who, *rest),
            )
        of_each(0.0)
        return snapshots.save(at(1), contents(1, task)).error

    chief, _ = run_tasks(2, work)
    assert "task-00001.bin was written by another run of the job" in chief
    assert steps_in(tmp_path) == []


def test_a_crash_between_the_parts_and_the_manifest_leaves_nothing_that_counts(tmp_path):
    save_steps(tmp_path, [1], num_tasks=2)

    def work(task, of_each):
        snapshots = started(tmp_path, task, 2, of_each)
        snapshots.begin(at(2), contents(2, task))
        while not snapshots._saver.is_written():
            pass
        # And here the process ends: nobody commits.

    run_tasks(2, work)
    assert len(list(tmp_path.glob("snapshot-*00002-*/task-*.bin"))) == 2
    assert restore(tmp_path).position == at(1)
    save_steps(tmp_path, [3], num_tasks=2)
    assert steps_in(tmp_path) == [1, 3] and len(list(tmp_path.glob("snapshot-*"))) == 2


def test_all_tasks_hear_the_chief():
    for number in (0, 1, 2**23 - 1, 2**23, 123456789012, 2**46 - 1):

        def work(task, of_each, number=number):
            return tell_all(of_each, number if task == 0 else 5)

        assert run_tasks(3, work) == [number] * 3


def test_tasks_that_see_another_directory_are_named(tmp_path):
    def work(task, of_each):
        own = tmp_path / ("shared" if task in (0, 2) else f"own{task}")
        return check_shared(own, task, of_each, patience_seconds=0.3)

    results = run_tasks(4, work)
    for result in results:
        assert isinstance(result, DataError)
        assert "tasks 1, 3 of 4 cannot see the directory" in str(result)
    assert list((tmp_path / "shared").iterdir()) == []


def test_tasks_that_see_the_same_directory_agree_on_a_name(tmp_path):
    (tmp_path / ".seen-aaaaaa-0").write_text("of a start that was killed")
    names = run_tasks(3, lambda task, of_each: check_shared(tmp_path, task, of_each))
    assert len(set(names)) == 1 and len(names[0]) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_chief_that_cannot_write_stops_all(tmp_path):
    (tmp_path / "file").write_text("")

    def work(task, of_each):
        return check_shared(tmp_path / "file" / "below", task, of_each, patience_seconds=0.3)

    for result in run_tasks(2, work):
        assert isinstance(result, DataError) and "the chief cannot write to" in str(result)


def test_a_task_that_may_not_write_is_named(tmp_path, monkeypatch):
    from pathlib import Path

    write_text = Path.write_text

    def write(path, text):
        if path.name.endswith("-1"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return write_text(path, text)

    monkeypatch.setattr(Path, "write_text", write)
    results = run_tasks(2, lambda task, of_each: check_shared(tmp_path, task, of_each))
    assert all("task 1 of 2 cannot write to the directory" in str(result) for result in results)
