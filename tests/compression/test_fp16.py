"""The codec of IEEE half precision."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import SEED, decode, normal
from tfdml.compression import Fp16

CODEC = Fp16()


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


@pytest.mark.parametrize("magnitude", [1e-28, 1e-8, 1.0, 1e6, 1e30])
def test_values_of_any_magnitude_keep_eleven_bits(magnitude):
    x = normal(10_000) * np.float32(magnitude)
    decoded = decode(CODEC, CODEC.encode([tf.constant(x)], seed=SEED), x.size)
    # Half a unit of the eleventh bit; and of the smallest half, relative to the largest value.
    bound = np.abs(x) * 2.0**-11 + np.abs(x).max() * 2.0**-39
    assert (np.abs(decoded - x) <= bound).all()


def test_halves_that_fit_come_back_exactly():
    x = np.arange(-2047, 2048, dtype="f4") * np.float32(2**-20)
    decoded = decode(CODEC, CODEC.encode([tf.constant(x)], seed=SEED), x.size)
    np.testing.assert_array_equal(decoded, x)


def test_golden_payload():
    """The largest value, 3, becomes 3 * 2**13; 2**-14 of the rest is subnormal then."""
    x = np.array([3.0, -1.0, 2.0**-37, 2.0**-38 * 1.5], "f4")
    words = CODEC.encode([tf.constant(x)], seed=SEED).numpy()
    assert words.shape == (1, CODEC.payload_words(4)) == (1, 2049)
    halves = np.array([3 * 2.0**13, -(2.0**13), 2.0**-24, 2.0**-24], "<f2")
    assert words[0, :2].tobytes() == halves.tobytes()
    assert not words[0, 2:-1].any()
    assert words[0, -1:].view("f4") == 2.0**-13


def test_half_of_the_bytes():
    assert 4 * CODEC.payload_words(4096 * 100) == 2 * 4096 * 100 + 400
