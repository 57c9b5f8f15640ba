"""The anatomy of made-up steps, whose parts are known."""

from __future__ import annotations

import pytest

from tests.monitoring.measurements import measurement
from tfdml.monitoring.anatomy import AnatomyReader

TASKS = ("worker 0", "worker 1")
FAST, SLOW = (1e-3, 4e-3, 1e-3), (1e-3, 9e-3, 1e-3)


def read(measured, tasks=TASKS, on_host=True):
    return AnatomyReader(tasks, on_host=on_host).read(measured, step=8, epoch=0)


def test_every_part_is_as_long_as_it_was():
    first, second = read(measurement([FAST, SLOW])).tasks
    about = lambda seconds: pytest.approx(seconds, abs=1e-5)
    for task, computing, waiting in ((first, 5e-3, 5e-3), (second, 10e-3, 0.0)):
        assert task.parts["input"] == about(1e-3)
        assert task.parts["computing"] == about(computing)
        assert task.parts["waiting"] == about(waiting)
        # That of the steps, and a quarter of what reading the metrics takes after four of them.
        assert task.parts["communicating"] == about(2e-3 + 0.5e-3)
        assert task.parts["host"] == about(0.25e-3)
        assert sum(task.parts.values()) == pytest.approx(task.step_seconds)
        assert 0 < task.parts["unexplained"] < 1e-4  # the gaps


def test_clocks_that_are_apart_change_nothing():
    together = read(measurement([FAST, SLOW])).tasks
    apart = read(measurement([FAST, SLOW], offsets=[0.0, 3.5], clocks=[1, 2]))
    assert apart.clock_error_seconds == pytest.approx(2e-3, abs=2e-4)  # what reading takes
    for one, other in zip(together, apart.tasks, strict=True):
        for part, seconds in one.parts.items():
            assert other.parts[part] == pytest.approx(seconds, abs=apart.clock_error_seconds)


def test_a_step_that_only_accumulates_is_all_computing():
    first, _ = read(measurement([FAST, SLOW], exchanges=False)).tasks
    assert first.parts["computing"] == pytest.approx(4e-3, abs=1e-5)


def test_one_replica_neither_waits_nor_communicates():
    (task,) = read(measurement([FAST], communicating=0.0), TASKS[:1]).tasks
    assert task.parts["waiting"] == 0 and task.parts["communicating"] == 0
    assert task.parts["computing"] == pytest.approx(5e-3, abs=1e-5)


def test_the_host_knows_nothing_of_what_devices_do():
    first, _ = read(measurement([FAST, SLOW]), on_host=False).tasks
    assert [p for p, seconds in first.parts.items() if seconds is None] == [
        "computing",
        "waiting",
        "communicating",
    ]
    known = first.parts["input"] + first.parts["host"] + first.parts["unexplained"]
    assert known == pytest.approx(first.step_seconds)


def test_two_replicas_of_a_task_are_one_row():
    measured = measurement([FAST, FAST, SLOW, SLOW])
    both = type(measured)(measured.numbers[:, :], 2)
    # With half as many tasks the rates of two more links are rows of nobody.
    numbers = both.numbers
    from tfdml.monitoring.measurement import HEAD, HOST

    begin = len(HEAD) + len(HOST)
    import numpy as np

    both = type(measured)(np.delete(numbers, [begin, begin + 1], axis=1), 2)
    first, second = read(both).tasks
    assert first.parts["waiting"] == pytest.approx(5e-3, abs=1e-5)
    assert second.parts["computing"] == pytest.approx(10e-3, abs=1e-5)
