"""The codec of signs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import SEED, decode, normal
from tfdml.compression import SignSgd
from tfdml.errors import ConfigError


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 10_007])
def test_values_become_the_mean_magnitude_of_their_block(size):
    codec, x = SignSgd(), normal(size)
    decoded = decode(codec, codec.encode([tf.constant(x)], seed=SEED), size)
    for begin in range(0, size, 1024):
        block = x[begin : begin + 1024]
        expected = np.where(block >= 0, 1, -1) * np.abs(block).mean(dtype="f8")
        np.testing.assert_allclose(decoded[begin : begin + 1024], expected, rtol=1e-6)


def test_golden_payload():
    """A bit is set where the value is not negative, -0 included; what is missing in the block is no value."""
    x = np.array([1.0, -2.0, 0.0, -0.0, 3.0, -6.0], "f4")
    words = SignSgd(block_size=32).encode([tf.constant(x)], seed=SEED).numpy()
    bits = 0xFFFFFFFF ^ 0b100010
    assert words.tobytes() == np.array([bits], "<u4").tobytes() + np.float32(2.0).tobytes()


def test_a_thirtieth_of_the_bytes():
    assert 4 * SignSgd().payload_words(1_024_000) == 1_024_000 / 8 + 4_000


def test_what_is_past_the_end_of_the_residuals_does_not_count():
    """The sum of two padded chunks is not zero there."""
    residual = tf.Variable(tf.zeros([6]))
    x = np.full(32, 100.0, "f4")
    x[:2] = [1.0, -3.0]
    words = SignSgd(block_size=32).encode_remainder(
        tf.constant(x), [residual], tf.constant(4, tf.int64), seed=SEED, commit=tf.constant(True)
    )
    assert words[0, 1:].numpy().view("f4") == 2.0
    np.testing.assert_array_equal(residual, [0, 0, 0, 0, -1, -1])


def test_a_block_size_that_is_no_power_of_two_is_refused():
    with pytest.raises(ConfigError, match="power of two from 32 to 65536, got 1000"):
        SignSgd(1000)
