"""Offsets of clocks, from collectives between tasks whose clocks are known to be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tfdml.monitoring.clocks import Clocks

OFFSETS = np.array([0.0, 5.0, -0.2])


def collectives(generator, count, *, delay=0.0, seconds=1e-3):
    """(entries, exits) [3, count] by the tasks' own clocks; the last task comes `delay` late to all of them."""
    begins = np.cumsum(generator.uniform(5e-3, 6e-3, count))
    entries = begins + generator.uniform(0, 1e-3, (3, count))
    entries[2] += delay
    exits = entries.max(axis=0) + seconds + generator.uniform(0, 1e-4, (3, count))
    return entries + OFFSETS[:, None], exits + OFFSETS[:, None]


def test_the_error_is_as_small_as_it_says():
    generator = np.random.default_rng(0)
    found, error = Clocks().update(*collectives(generator, 20), np.array([1, 2, 3]))
    assert np.abs(found - OFFSETS).max() <= error <= 2e-3


def test_one_that_always_comes_late_is_within_the_bound_all_the_same():
    generator = np.random.default_rng(0)
    entries, exits = collectives(generator, 20, delay=20e-3)
    found, error = Clocks().update(entries, exits, np.array([1, 2, 3]))
    assert np.abs(found - OFFSETS).max() <= error
    # The all-reduce of the metrics, to which nobody comes late, tells all that there is to know.
    metrics = collectives(generator, 1)
    both = [np.hstack([a, b]) for a, b in zip((entries, exits), metrics, strict=True)]
    found, error = Clocks().update(*both, np.array([1, 2, 3]))
    assert np.abs(found - OFFSETS).max() <= error <= 2.5e-3


def test_more_collectives_narrow_the_bound():
    generator = np.random.default_rng(0)
    clocks = Clocks()
    errors = [clocks.update(*collectives(generator, 2), np.array([1, 2, 3]))[1] for _ in range(10)]
    assert errors[-1] < errors[0]


def test_tasks_of_one_host_have_one_clock():
    generator = np.random.default_rng(0)
    entries, exits = collectives(generator, 5)
    entries[1], exits[1] = entries[1] - OFFSETS[1], exits[1] - OFFSETS[1]
    found, error = Clocks().update(entries, exits, np.array([7, 7, 3]))
    assert list(found[:2]) == [0.0, 0.0]
    assert found[2] == pytest.approx(OFFSETS[2], abs=error)
