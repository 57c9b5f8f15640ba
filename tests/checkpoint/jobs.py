"""Jobs of several tasks in threads of one process, and contents that can be told apart by step and task."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tfdml.checkpoint import Contents, Position, Restored, Snapshots
from tfdml.checkpoint.directory import SnapshotDirectory
from tfdml.checkpoint.restorer import Restorer
from tfdml.checkpoint.shared_check import alone


class Meeting:
    """Exchanges numbers between the threads of `num_tasks` tasks."""

    def __init__(self, num_tasks: int):
        self._barrier = threading.Barrier(num_tasks, timeout=60)
        self._numbers = [0.0] * num_tasks

    def of_each(self, task: int) -> Callable[[float], list[float]]:
        def exchange(number: float) -> list[float]:
            self._numbers[task] = float(np.float32(number))
            self._barrier.wait()
            numbers = list(self._numbers)
            self._barrier.wait()
            return numbers

        return exchange


def run_tasks(num_tasks: int, work: Callable[[int, Callable[[float], list[float]]], Any]) -> list:
    """What `work(task, of_each)` returned on every task, or the exception that it raised."""
    meeting = Meeting(num_tasks)

    def run(task: int) -> Any:
        try:
            return work(task, meeting.of_each(task))
        except Exception as error:
            return error

    with ThreadPoolExecutor(num_tasks) as pool:
        return list(pool.map(run, range(num_tasks)))


def at(step: int) -> Position:
    return Position(epoch=step // 10, step_in_epoch=step % 10, global_step=step)


def contents(step: int, task: int = 0, size: int = 40) -> Contents:
    """All kinds of sections, with values that depend on step and task."""
    random = np.random.default_rng([step, task])
    replicas = {"dense/kernel/residual": random.normal(size=(1, size)).astype("float32")}
    if task:
        return Contents(arrays={"replicas": replicas})
    weights = {
        "0:dense/kernel": random.normal(size=(3, size)).astype("float32"),
        "1:dense/bias": random.normal(size=size).astype(ml_dtypes.bfloat16),
        "2:step": np.asarray(step, "int64"),
    }
    return Contents(
        arrays={"weights": weights, "replicas": replicas},
        documents={"callbacks": {"best": 0.1 * step}, "history": {"loss": [1 / 3, float(step)]}},
        blobs={"iterator": random.bytes(33)},
    )


def same_as_saved(restored: Restored, size: int = 40) -> bool:
    """Whether everything that `contents` gave for that step and all tasks came back, bit for bit."""
    for task in range(restored.num_tasks):
        wanted, part = contents(restored.position.global_step, task, size), restored.part(task)
        for section, arrays in wanted.arrays.items():
            found = part.arrays(section)
            if list(found) != list(arrays):
                return False
            for name, array in arrays.items():
                got = found[name]
                if (got.dtype, got.shape, got.tobytes()) != (
                    array.dtype,
                    array.shape,
                    array.tobytes(),
                ):
                    return False
        if any(part.document(section) != value for section, value in wanted.documents.items()):
            return False
        if any(part.blob(section) != value for section, value in wanted.blobs.items()):
            return False
    return True


def save_steps(
    directory: Path, steps: list[int], num_tasks: int = 1, size: int = 40, **options: Any
) -> None:
    """A job of `num_tasks` that saves at every step in `steps`."""

    def work(task: int, of_each: Callable[[float], list[float]]) -> None:
        snapshots = Snapshots(directory, **options)
        snapshots.start(task=task, num_tasks=num_tasks, of_each=of_each)
        snapshots.restore()
        for step in steps:
            outcome = snapshots.save(at(step), contents(step, task, size))
            assert outcome.saved, outcome.error
        snapshots.close()

    for result in run_tasks(num_tasks, work):
        if result is not None:
            raise result


def restore(directory: Path) -> Restored | None:
    """What one task finds."""
    snapshots = Snapshots(directory)
    snapshots.start()
    return snapshots.restore()


def find(directory: Path) -> Restored | None:
    """The same, without becoming the job that owns the directory."""
    return Restorer(SnapshotDirectory(directory), None, 0, 1, alone).restore()


def steps_in(directory: Path) -> list[int]:
    """Steps of the snapshots that have a manifest."""
    return sorted(int(path.parent.name.split("-")[1]) for path in directory.glob("*/manifest.json"))
