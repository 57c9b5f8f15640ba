"""Seeds of records and steps: different, spread, the same in and out of graphs, and pinned."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfdml.data.augment.seeds import record_seed, step_seed


def test_are_the_same_for_vectors_scalars_and_graphs():
    ids = tf.range(100, dtype=tf.int64)
    vector = record_seed(5, 3, ids).numpy()
    assert vector.dtype == np.int32 and vector.shape == (100, 2)
    np.testing.assert_array_equal(record_seed(5, 3, 42), vector[42])
    np.testing.assert_array_equal(tf.function(record_seed)(5, tf.constant(3), ids), vector)


def test_never_meet():
    ids = tf.range(1000, dtype=tf.int64)
    records = [record_seed(seed, epoch, ids) for seed in (0, 1) for epoch in range(3)]
    steps = [step_seed(seed, ids) for seed in (0, 1)]
    seeds = np.concatenate(records + steps)
    assert len(np.unique(seeds, axis=0)) == 8000


def test_every_bit_is_as_often_set_as_not():
    seeds = record_seed(0, 0, tf.range(10_000, dtype=tf.int64)).numpy().view(np.uint32)
    bits = (seeds[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(bits.mean(0) - 0.5).max() < 0.025  # five standard deviations


def test_a_seed_can_be_any_64_bits():
    for seed in (2**64 - 1, -1, 2**63, 2**32):
        assert record_seed(seed, 0, 0).shape == (2,)
    np.testing.assert_array_equal(record_seed(-1, 0, 0), record_seed(2**64 - 1, 0, 0))
    assert (record_seed(2**32, 0, 0).numpy() != record_seed(0, 0, 0).numpy()).any()


def test_stay_as_they_are():
    """A run that continues with a later version must draw as it did."""
    np.testing.assert_array_equal(record_seed(1, 2, 3), PINNED_RECORD)
    np.testing.assert_array_equal(step_seed(1, 2), PINNED_STEP)


def _reference(*values: int) -> np.ndarray:
    """SplitMix64 in Python's integers."""
    state, every = values[0], 2**64 - 1
    for value in values[1:]:
        state = ((state ^ value) + 0x9E3779B97F4A7C15) & every
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & every
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & every
        state ^= state >> 31
    return np.array([state], np.uint64).view(np.int32)


PINNED_RECORD = _reference(1, 1, 2, 3)
PINNED_STEP = _reference(2, 1, 2)
