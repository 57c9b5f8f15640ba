"""What replicas must have in common, and what must differ between them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.replica_state import batch_norm_and_dropout, ema_overwrite, nan_on_worker_1
from tfdml.testing import run_in_process, run_workers


@pytest.fixture(scope="module")
def three_replicas():
    return run_in_process(batch_norm_and_dropout, ("mirrored", 3))


@pytest.fixture(scope="module")
def two_workers():
    return run_workers(batch_norm_and_dropout, 2, ("multi_worker",))


def test_batch_norm_statistics_agree_on_all_replicas(three_replicas, two_workers):
    assert len(set(three_replicas["hashes"])) == 1
    assert two_workers[0]["hashes"] == two_workers[1]["hashes"]
    np.testing.assert_array_equal(two_workers[0]["moving_mean"], two_workers[1]["moving_mean"])


def test_a_last_batch_of_one_example_turns_nothing_nan(three_replicas, two_workers):
    # 21 examples in batches of 10: two of three replicas, and one of two workers, get nothing at the end.
    assert three_replicas["finite"]
    assert two_workers[0]["finite"]


def test_dropout_masks_differ_between_replicas(three_replicas, two_workers):
    for result in (three_replicas, two_workers[0]):
        for masks in result["masks"]:
            assert len({tuple(mask) for mask in masks}) == len(masks)


def test_dropout_masks_are_reproducible_from_the_seed(two_workers):
    again = run_workers(batch_norm_and_dropout, 2, ("multi_worker",))
    np.testing.assert_array_equal(again[0]["masks"], two_workers[0]["masks"])
    # The same on both tasks' logs, because logs are reduced over all replicas.
    np.testing.assert_array_equal(two_workers[0]["masks"], two_workers[1]["masks"])


def test_a_nan_on_one_worker_skips_the_step_on_all_and_halves_the_scale():
    first, second = run_workers(nan_on_worker_1, 2, ("auto",))
    assert first == second
    scales, iterations, skipped, hashes = zip(*first["path"], strict=True)
    assert scales == (2.0**15, *[2.0**14] * 5)
    assert iterations == (1, 1, 2, 3, 4, 5)
    assert skipped == (0, 1, 1, 1, 1, 1)
    assert hashes[0] == hashes[1], "the skipped step changed weights"
    assert len(set(hashes)) == 5, "training did not go on"


def test_a_static_scale_skips_the_step_and_stays():
    first, second = run_workers(nan_on_worker_1, 2, (256.0,))
    assert first == second
    assert [entry[0] for entry in first["path"]] == [256.0] * 6
    assert first["path"][-1][1:3] == (5, 1)


def test_an_ema_that_overwrites_the_weights_is_like_plain_keras():
    expected = run_in_process(ema_overwrite, ("keras",))
    result = run_in_process(ema_overwrite, ("mirrored", 2))
    for value, wanted in zip(result, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9)
