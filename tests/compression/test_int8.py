"""The 8-bit codec."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import SEED, decode, mixed
from tfdml.compression import Int8
from tfdml.errors import ConfigError

SIZES = [1, 255, 256, 257, 100_003]


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("rounding", "levels"), [("nearest", 0.5), ("stochastic", 1.0)])
def test_every_value_comes_back_within_a_level(size, rounding, levels):
    codec, x = Int8(rounding=rounding), mixed(size)
    decoded = decode(codec, codec.encode([tf.constant(x)], seed=SEED), size)
    blocks = np.pad(x, (0, -size % 256)).reshape(-1, 256)
    bound = np.repeat(np.abs(blocks).max(axis=1) / 127 * levels, 256)[:size]
    assert (np.abs(decoded - x) <= bound * (1 + 1e-5)).all()


def test_a_payload_is_about_a_quarter_of_the_bytes():
    assert Int8().payload_words(1_000_000) == 1_000_192 // 4 + 3_907
    assert 4 * Int8().payload_words(1_000_000) < 0.26 * 4_000_000


def test_golden_payload():
    """Fields of all blocks of a chunk, then the scales; 0.5 and 1.5 round to even."""
    x = np.zeros(40, "f4")
    x[:6] = [127.0, -1.0, 0.5, 1.5, -2.5, 64.25]
    x[32:34] = [-254.0, 2.0]
    words = Int8(block_size=32).encode([tf.constant(x)], seed=SEED).numpy()
    first = bytes([127, 255, 0, 2, 254, 64]) + bytes(26)
    second = bytes([129, 1]) + bytes(30)
    assert words.tobytes() == first + second + np.array([1.0, 2.0], "<f4").tobytes()


def test_golden_payload_of_chunks():
    x = np.zeros(65, "f4")
    x[[0, 32, 64]] = [127.0, 254.0, -127.0]
    words = Int8(block_size=32).encode([tf.constant(x)], seed=SEED, chunks=2).numpy()
    assert words.shape == (2, 18)
    scales = words[:, 16:].copy().view("f4")
    np.testing.assert_array_equal(scales, [[1.0, 2.0], [1.0, 0.0]])
    np.testing.assert_array_equal(words[:, 0], [127, 256 - 127])


def test_of_what_is_almost_nothing_nothing_is_sent_and_all_is_kept():
    x = np.full(256, 1e-31, "f4")
    residual = tf.Variable(np.zeros(256, "f4"))
    words = Int8().encode_feedback(
        [tf.constant(x)],
        [residual],
        seed=SEED,
        commit=tf.constant(True),
        residual_scale=tf.constant(1.0),
    )
    assert not words.numpy().any()
    np.testing.assert_array_equal(residual, x)


def test_only_stochastic_rounding_is_unbiased_and_needs_no_feedback():
    nearest, stochastic = Int8(), Int8(rounding="stochastic")
    assert (nearest.unbiased, nearest.feedback) == (False, True)
    assert (stochastic.unbiased, stochastic.feedback) == (True, False)


@pytest.mark.parametrize("block_size", [0, 16, 100, 131_072, 256.0, True, "256"])
def test_a_block_size_that_is_no_power_of_two_is_refused(block_size):
    with pytest.raises(ConfigError, match=r"power of two from 32 to 65536, got .* default is 256"):
        Int8(block_size)


def test_an_unknown_rounding_is_refused():
    with pytest.raises(ConfigError, match="must be one of nearest, stochastic, got 'up'"):
        Int8(rounding="up")
