"""The codec of values at random positions, beyond what `test_contract.py` tests of all codecs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdml.compression.randomk import RandomK

SEED = tf.constant([7, -2])
SIZES = [0, 1, 2, 99, 100, 101, 65_537]
TRUE, FALSE, ONE, ZERO = tf.constant(True), tf.constant(False), tf.constant(1.0), tf.constant(0.0)


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    """Everything holds for the reference and for the kernels."""
    monkeypatch.setenv("TFDML_NATIVE", request.param)


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([size, seed]).normal(size=size).astype("f4")


def lowbias32(x: int) -> int:
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def positions(size: int, k: int, seed: tf.Tensor = SEED) -> np.ndarray:
    """Where randomk should look, by the formula."""
    s0, s1 = (int(word) % 2**32 for word in seed)
    first = lowbias32((s0 + 0x9E3779B9) % 2**32)
    second = lowbias32((lowbias32(first ^ s1) + 0x9E3779B9) % 2**32)
    result = []
    for j in range(k):
        low, high = j * size // k, (j + 1) * size // k
        result.append(low + lowbias32(lowbias32((j + first) % 2**32) ^ second) % (high - low))
    return np.array(result, "i8")


def sent(x: np.ndarray, k: int, seed: tf.Tensor = SEED) -> np.ndarray:
    result = np.zeros_like(x)
    index = positions(x.size, k, seed)
    result[index] = x[index]
    return result


def decode(codec: RandomK, words: tf.Tensor, size: int) -> np.ndarray:
    return codec.decode_sum(words[None], [tf.TensorShape([size])], initial=ZERO)[0].numpy()


def draws(codec: RandomK, x: tf.Tensor, steps: int) -> np.ndarray:
    """What `x` decodes to in each of `steps` steps: [steps, size]."""

    @tf.function
    def all_steps():
        def draw(step):
            words = codec.encode([x], seed=tf.stack([step, 5]))
            return codec.decode_sum(words[None], [x.shape], initial=ZERO)[0]

        return tf.map_fn(draw, tf.range(steps), fn_output_signature=tf.TensorSpec(x.shape))

    return all_steps().numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [0.01, 0.3, 1.0])
def test_values_at_the_positions_of_the_seed_come_back(size, density):
    codec, x = RandomK(density, unbiased=False), normal(size)
    words = codec.encode([tf.constant(x)], seed=SEED)
    assert words.dtype == tf.int32
    assert words.shape == (1, codec.payload_words(size))
    np.testing.assert_array_equal(words[0, :2], SEED)
    np.testing.assert_array_equal(decode(codec, words, size), sent(x, codec.selected(size)))


def test_golden_payload():
    words = RandomK(0.5, unbiased=False).encode(
        [tf.constant([1.0, 2.0]), tf.constant([[4.0, 8.0]])], seed=SEED
    )
    expected = np.array([7, -2], "<i4").tobytes() + np.array([1.0, 4.0], "<f4").tobytes()
    assert words.numpy().tobytes() == expected


def test_every_position_is_as_likely_as_any_other():
    hits = draws(RandomK(0.2, unbiased=False), tf.ones([33]), 1000).sum(axis=0)
    parts = np.diff([j * 33 // 7 for j in range(8)])
    expected = 1000 / np.repeat(parts, parts)
    assert (np.abs(hits - expected) < 5 * np.sqrt(expected)).all()


def test_the_positions_of_a_step_are_not_those_of_the_next_moved_by_a_part():
    offsets = [positions(100_000, 1000, tf.constant([step, 0])) % 100 for step in (5, 6)]
    assert (offsets[0][1:] == offsets[1][:-1]).sum() < 40


def test_no_indices_travel():
    assert RandomK(0.01).payload_words(1_000_000) == 10_002


def test_feedback_keeps_exactly_what_was_not_sent():
    codec, x, old = RandomK(0.01, unbiased=False), normal(5000), normal(5000, seed=1)
    parts = [x[:2000].reshape(40, 50), x[2000:]]
    residuals = [tf.Variable(old[:2000].reshape(40, 50)), tf.Variable(old[2000:])]
    words = codec.encode_feedback(
        [tf.constant(part) for part in parts],
        residuals,
        seed=SEED,
        commit=TRUE,
        residual_scale=tf.constant(0.3),
    )
    v = x + np.float32(0.3) * old
    new = np.concatenate([residual.numpy().ravel() for residual in residuals])
    np.testing.assert_array_equal(decode(codec, words, 5000), sent(v, 50))
    np.testing.assert_array_equal(new, v - sent(v, 50))


def test_without_feedback_decoding_gives_the_values_on_average():
    codec, x = RandomK(0.2), tf.constant(normal(12))
    assert codec.unbiased
    assert not codec.feedback
    decoded = draws(codec, x, 1000)
    error = decoded.std(axis=0) / np.sqrt(1000)
    assert (np.abs(decoded.mean(axis=0) - x) < 5 * error).all()


def test_feedback_of_scaled_values_keeps_what_was_not_sent():
    codec, x, residual = RandomK(0.1), normal(1000), tf.Variable(tf.zeros(1000))
    words = codec.encode_feedback(
        [tf.constant(x)], [residual], seed=SEED, commit=TRUE, residual_scale=ONE
    )
    np.testing.assert_array_equal(decode(codec, words, 1000), 10 * sent(x, 100))
    np.testing.assert_array_equal(residual, x - 10 * sent(x, 100))


def test_payloads_of_different_seeds_decode_too():
    codec, other, x = RandomK(0.1, unbiased=False), tf.constant([8, 8]), normal(500)
    words = tf.stack([codec.encode([tf.constant(x)], seed=seed) for seed in (SEED, other)])
    (total,) = codec.decode_sum(words, [tf.TensorShape([500])], initial=ZERO)
    np.testing.assert_array_equal(total, sent(x, 50) + sent(x, 50, other))
