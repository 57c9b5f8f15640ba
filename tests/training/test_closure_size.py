"""How many steps are scheduled at once follows from how long they take."""

from __future__ import annotations

import pytest

from tfdml.training.closure_size import ClosureSize


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def size_after(step_seconds: float, num_workers: int = 2, most: int | None = None) -> int:
    """Of a worker whose steps take so long, when several seconds have passed."""
    clock = Clock()
    size = ClosureSize(num_workers, most, clock)
    assert size.steps == 1, "nothing is known yet"
    while clock.now < 5 + 3 * step_seconds:
        clock.now += size.steps * step_seconds / num_workers
        size.made(size.steps)
    return size.steps


@pytest.mark.parametrize(
    ("step_seconds", "expected"),
    [(0.001, 8), (0.03, 8), (0.061, 4), (0.121, 2), (0.2, 1), (5.0, 1)],
)
def test_a_closure_takes_a_quarter_of_a_second_at_most(step_seconds, expected):
    assert size_after(step_seconds) == expected


@pytest.mark.parametrize(("max_pending_steps", "expected"), [(1, 1), (2, 1), (6, 3), (100, 8)])
def test_every_worker_gets_its_part_of_the_steps_under_way(max_pending_steps, expected):
    assert size_after(0.001, most=max_pending_steps) == expected


def test_a_pause_says_nothing_of_the_steps():
    clock = Clock()
    size = ClosureSize(2, None, clock)
    for _ in range(2):
        clock.now += 100  # validation, a save
        size.rest()
        clock.now += 0.2
        size.made(40)
        assert size.steps == 8
