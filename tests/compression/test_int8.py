"""The 8-bit codec."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdml.compression import Int8
from tfdml.errors import ConfigError

SIZES = [1, 255, 256, 257, 100_003]


def values(size: int) -> np.ndarray:
    generator = np.random.default_rng(size)
    return (generator.normal(size=size) * 10.0 ** generator.integers(-6, 6, size=size)).astype("f4")


@pytest.mark.parametrize("size", SIZES)
def test_every_value_comes_back_within_half_a_level(size):
    codec, x = Int8(), values(size)
    words = codec.encode(tf.constant(x))
    assert words.dtype == tf.int32
    assert words.shape == (codec.payload_words(size),)
    decoded = codec.decode_sum(words[None, :], size).numpy()
    blocks = np.pad(x, (0, -size % 256)).reshape(-1, 256)
    bound = np.repeat(np.abs(blocks).max(axis=1) / 127 / 2, 256)[:size]
    assert (np.abs(decoded - x) <= bound * (1 + 1e-5)).all()


def test_a_payload_is_about_a_quarter_of_the_bytes():
    assert 4 * Int8().payload_words(1_000_000) < 0.26 * 4_000_000


def test_decode_sum_adds_the_payloads():
    codec, first, second = Int8(), values(1000), values(1000)[::-1].copy()
    a, b = codec.encode(tf.constant(first)), codec.encode(tf.constant(second))
    total = codec.decode_sum(tf.stack([a, b]), 1000)
    parts = codec.decode_sum(a[None], 1000) + codec.decode_sum(b[None], 1000)
    np.testing.assert_array_equal(total, parts)


def test_golden_payload():
    codec = Int8(block_size=4)
    words = codec.encode(tf.constant([127.0, -1.0, 0.4, 64.0])).numpy()
    assert words.tobytes() == bytes([127, 255, 0, 64]) + np.float32(1.0).tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_shows_after_decoding(bad):
    x = values(600)
    x[300] = bad
    decoded = Int8().decode_sum(Int8().encode(tf.constant(x))[None], 600).numpy()
    assert np.isnan(decoded[256:512]).all()
    assert np.isfinite(decoded[:256]).all()


@pytest.mark.parametrize("block_size", [0, 3, 100])
def test_a_block_size_that_is_no_power_of_two_is_refused(block_size):
    with pytest.raises(ConfigError, match="power of two"):
        Int8(block_size)
