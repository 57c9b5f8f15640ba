"""The codec of bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import SEED, decode, mixed
from tfdml.compression import Bf16

CODEC = Bf16()


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


@pytest.mark.parametrize("size", [1, 31, 33, 10_007])
def test_it_rounds_as_tensorflow_does(size):
    x = mixed(size)
    decoded = decode(CODEC, CODEC.encode([tf.constant(x)], seed=SEED), size)
    np.testing.assert_array_equal(decoded, tf.cast(tf.cast(x, tf.bfloat16), tf.float32))


def test_golden_payload():
    """The upper halves; 1 + 2**-8 and 1 + 3 * 2**-8 lie in the middle and round to even."""
    x = np.array([1.0, -2.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20], "f4")
    words = CODEC.encode([tf.constant(x)], seed=SEED).numpy()
    halves = np.array([0x3F80, 0xC000, 0x3F80, 0x3F82, 0x3F81], "<u2")
    assert words.tobytes() == halves.tobytes() + bytes(64 - 10)


def test_half_of_the_bytes():
    assert 4 * CODEC.payload_words(3_200) == 2 * 3_200
