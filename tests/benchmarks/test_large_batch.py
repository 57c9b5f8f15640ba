"""What benchmarks/large_batch.py compares: the same training but for what a row says."""

from __future__ import annotations

import large_batch
import pytest


def test_the_bare_side_is_the_small_batch_in_a_larger_size():
    (small, small_settings), (large, bare), *others = large_batch.SIDES.values()
    assert (small, large) == (32, 256) and bare == small_settings
    assert all(size == large for size, _ in others)


def test_rows_say_what_is_lost_and_in_which_direction_it_is_to_be():
    means = dict(zip(large_batch.SIDES, [98.5, 90.0, 98.0, 98.25, 98.75], strict=True))
    accuracy, bare, *others = large_batch.rows_of(means)
    assert (accuracy.value, bare.value, bare.better) == (98.5, 8.5, "higher")
    assert [row.value for row in others] == [0.5, 0.25, -0.25]
    assert {row.better for row in others} == {"lower"}


@pytest.mark.slow
def test_a_short_training_learns():
    task = large_batch.LargeBatch(quick=True)
    size, settings = large_batch.SIDES["batch 32"]
    assert task.accuracy(settings, size, epochs=2, seed=0) > 60
