"""QSGD."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import decode, mixed, normal
from tests.compression.random_numbers import uniform
from tfdml.compression import Qsgd
from tfdml.errors import ConfigError

SEED = tf.constant([3, -4])


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


def test_golden_payload():
    """32 values of 1 have the norm sqrt(32): each becomes 7 / sqrt(32) = 1.24 levels, 1 or 2 of them."""
    words = Qsgd(block_size=32).encode([tf.ones([32])], seed=SEED).numpy()
    levels = [math.floor(7 / math.sqrt(32) + uniform(i, (3, -4))) for i in range(32)]
    assert set(levels) == {1, 2}
    fields = bytes(low | high << 4 for low, high in zip(levels[::2], levels[1::2], strict=True))
    assert words.tobytes()[:16] == fields
    np.testing.assert_allclose(words[0, 4:].view("f4"), math.sqrt(32) / 7, rtol=1e-6)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("magnitude", [1e-25, 1.0, 1e25])
def test_values_become_one_of_the_two_levels_beside_them(bits, magnitude):
    codec, x = Qsgd(bits=bits), mixed(5_000) * np.float32(magnitude)
    decoded = decode(codec, codec.encode([tf.constant(x)], seed=SEED), x.size).astype("f8")
    blocks = np.pad(x, (0, -x.size % 512)).reshape(-1, 512).astype("f8")
    step = np.repeat(np.linalg.norm(blocks, axis=1) / (2 ** (bits - 1) - 1), 512)[: x.size]
    assert (np.abs(decoded - x) < step * (1 + 1e-5)).all()
    np.testing.assert_allclose(decoded / step, np.round(decoded / step), atol=1e-4)


def test_the_variance_is_below_the_bound_of_the_paper():
    """min(n / s**2, sqrt(n) / s) times the squared norm, lemma 3.1, with n = 512 and s = 7."""
    codec, x = Qsgd(), normal(512)
    lost = [
        decode(codec, codec.encode([tf.constant(x)], seed=tf.constant([i, 0])), 512) - x
        for i in range(50)
    ]
    assert np.mean(np.sum(np.square(lost), axis=1)) <= math.sqrt(512) / 7 * np.sum(x**2)


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="`bits` of qsgd must be 4 or 8, got 2"):
        Qsgd(bits=2)
    with pytest.raises(ConfigError, match="power of two from 32 to 65536, got 500"):
        Qsgd(block_size=500)
