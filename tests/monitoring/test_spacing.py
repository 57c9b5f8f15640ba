"""How many steps lie between two measured executions."""

from __future__ import annotations

import pytest

from tests.monitoring.measurements import measurement
from tfdml.monitoring.spacing import Spacing


def due(spacing: Spacing, steps: int, at_once: int) -> list[int]:
    return [step for step in range(0, steps, at_once) if spacing.is_due(step, at_once)]


def test_as_many_as_the_user_says():
    spacing = Spacing(8)
    assert due(spacing, 64, 4) == [4, 12, 20, 28, 36, 44, 52, 60]
    spacing.learn(measurement([(1e-4, 1e-3, 1e-4)]))
    assert due(spacing, 64, 4) == [4, 12, 20, 28, 36, 44, 52, 60], "however long a step takes"


def test_every_execution_where_it_is_longer():
    assert due(Spacing(8), 64, 16) == [0, 16, 32, 48]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.0, 100), (0.06, 100), (0.03, 200), (0.0049, 1100)],
)
def test_five_seconds_of_steps_but_a_hundred_at_least(seconds, expected):
    spacing = Spacing(None)
    assert due(spacing, 400, 10) == [90, 190, 290, 390]
    spacing.learn(measurement([(0.0, seconds, 0.0)], steps=8, communicating=0.0, host=0.0))
    assert due(spacing, 10 * expected, 10) == [expected * k - 10 for k in range(1, 11)]


def test_all_tasks_find_the_same():
    """They are given the same numbers, of which the first replica's count."""
    tasks = [(0.0, 0.03, 0.0), (0.0, 0.005, 0.0)]
    spacing = Spacing(None)
    spacing.learn(measurement(tasks, steps=8, communicating=0.0, host=0.0))
    assert due(spacing, 400, 10) == [190, 390]
