"""TernGrad."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import decode, normal
from tests.compression.random_numbers import uniform
from tfdml.compression import TernGrad
from tfdml.errors import ConfigError

SEED = tf.constant([3, -4])


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


def test_golden_payload():
    x = np.full(32, -0.5, "f4")
    x[0] = 2.0
    words = TernGrad(clip=None, block_size=32).encode([tf.constant(x)], seed=SEED).numpy()
    levels = [1] + [math.floor(-0.25 + uniform(i, (3, -4))) for i in range(1, 32)]
    assert set(levels) == {-1, 0, 1}
    fields = bytes(
        sum((level & 3) << 2 * i for i, level in enumerate(levels[begin : begin + 4]))
        for begin in range(0, 32, 4)
    )
    assert words.tobytes() == fields + np.float32(2.0).tobytes()


def test_values_are_clipped_at_a_multiple_of_their_root_mean_square():
    x = normal(2048)
    x[7] = -50.0
    decoded = decode(TernGrad(), TernGrad().encode([tf.constant(x)], seed=SEED), x.size)
    bound = 2.5 * math.sqrt(np.mean(x.astype("f8") ** 2))
    np.testing.assert_allclose(np.unique(decoded), [-bound, 0, bound], rtol=1e-6)
    assert decoded[7] == decoded.min()
    free = TernGrad(clip=None)
    decoded = decode(free, free.encode([tf.constant(x)], seed=SEED), x.size)
    assert np.abs(decoded).max() == 50.0


@pytest.mark.parametrize("size", [1, 100, 3000])
def test_equal_values_are_not_clipped(size):
    x = np.full(size, -3.0, "f4")
    decoded = decode(TernGrad(), TernGrad().encode([tf.constant(x)], seed=SEED), size)
    np.testing.assert_array_equal(decoded, x)


def test_it_is_unbiased_only_without_clipping():
    assert not TernGrad().unbiased
    assert TernGrad(clip=None).unbiased
    assert not TernGrad().feedback


@pytest.mark.parametrize("clip", [0, 0.5, -1.0, math.nan, "2"])
def test_a_clip_that_is_too_small_is_refused(clip):
    with pytest.raises(
        ConfigError, match=r"at least 1 standard deviation, or None, got .* is 2\.5"
    ):
        TernGrad(clip=clip)


def test_a_block_size_that_is_no_power_of_two_is_refused():
    with pytest.raises(ConfigError, match="power of two from 32 to 65536, got 2000"):
        TernGrad(block_size=2000)
