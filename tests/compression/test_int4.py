"""The 4-bit codec."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import SEED, decode, mixed, normal
from tfdml.compression import Int4
from tfdml.errors import ConfigError


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 100_003])
def test_every_value_comes_back_within_half_a_level(size):
    codec, x = Int4(), mixed(size)
    decoded = decode(codec, codec.encode([tf.constant(x)], seed=SEED), size)
    blocks = np.pad(x, (0, -size % 256)).reshape(-1, 256)
    bound = np.repeat(np.abs(blocks).max(axis=1) / 7 / 2, 256)[:size]
    assert (np.abs(decoded - x) <= bound * (1 + 1e-5)).all()


def test_a_payload_is_about_an_eighth_of_the_bytes():
    assert 4 * Int4().payload_words(1_000_000) < 0.13 * 4_000_000


def test_golden_payload():
    """The first of two fields is the lower half of the byte."""
    x = np.zeros(32, "f4")
    x[:5] = [7.0, -1.0, -7.0, 2.5, 3.5]
    words = Int4(block_size=32).encode([tf.constant(x)], seed=SEED).numpy()
    assert words.tobytes() == bytes([0xF7, 0x29, 0x04]) + bytes(13) + np.float32(1.0).tobytes()


def test_normal_values_lose_a_hundredth_of_their_energy():
    codec, x = Int4(), normal(100_000)
    lost = decode(codec, codec.encode([tf.constant(x)], seed=SEED), x.size) - x
    assert 0.01 < np.mean(lost**2) / np.mean(x**2) < 0.02


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="power of two from 32 to 65536, got 48"):
        Int4(48)
    with pytest.raises(ConfigError, match="one of nearest, stochastic, got None"):
        Int4(rounding=None)
