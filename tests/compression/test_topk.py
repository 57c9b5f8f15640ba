"""The codec of the largest values, beyond what `test_contract.py` tests of all codecs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdml.compression.topk import TopK

SEED = tf.constant([1, 2])
SIZES = [0, 1, 2, 99, 100, 101, 65_537]
TRUE, FALSE, ONE, ZERO = tf.constant(True), tf.constant(False), tf.constant(1.0), tf.constant(0.0)


@pytest.fixture(autouse=True, params=["off", "require"])
def native(request, monkeypatch):
    """Everything holds for the reference and for the kernels."""
    monkeypatch.setenv("TFDML_NATIVE", request.param)


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([size, seed]).normal(size=size).astype("f4")


def largest(x: np.ndarray, k: int) -> np.ndarray:
    """The indices that topk should select, ascending; zeros are never selected."""
    order = np.lexsort((np.arange(x.size), -np.abs(x)))[:k]
    return np.sort(order[x[order] != 0])


def sent(x: np.ndarray, k: int) -> np.ndarray:
    """What topk should decode to."""
    result = np.zeros_like(x)
    index = largest(x, k)
    result[index] = x[index]
    return result


def decode(codec: TopK, words: tf.Tensor, size: int) -> np.ndarray:
    return codec.decode_sum(words[None], [tf.TensorShape([size])], initial=ZERO)[0].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [0.01, 0.5, 1.0])
def test_the_largest_values_come_back_and_nothing_else(size, density):
    codec, x = TopK(density), normal(size)
    words = codec.encode([tf.constant(x)], seed=SEED)
    assert words.dtype == tf.int32
    assert words.shape == (1, codec.payload_words(size))
    np.testing.assert_array_equal(decode(codec, words, size), sent(x, codec.selected(size)))


@pytest.mark.parametrize(
    ("size", "k"), [(0, 0), (1, 1), (100, 1), (101, 2), (700, 7), (4_000_000, 40_000)]
)
def test_how_many_are_sent(size, k):
    assert TopK(0.01).selected(size) == k
    assert TopK(0.01).payload_words(size) == 2 * k


def test_of_equal_values_the_earlier_are_sent():
    words = TopK(0.5).encode([tf.constant([1.0, -2.0, 2.0, 1.0, -1.0, 1.0])], seed=SEED)
    np.testing.assert_array_equal(words[0, :3], [0, 1, 2])


def test_golden_payload():
    words = TopK(0.5).encode(
        [tf.constant([0.0, -2.0, 0.5]), tf.constant([[3.0], [0.25]])], seed=SEED
    )
    expected = np.array([1, 2, 3], "<i4").tobytes() + np.array([-2.0, 0.5, 3.0], "<f4").tobytes()
    assert words.numpy().tobytes() == expected


def test_zeros_are_not_sent_and_entries_without_effect_fill_the_payload():
    words = TopK(0.5).encode([tf.constant([-3.0, 0.0, 2.0, 0.0, -0.0, 0.0, 0.0, 0.0])], seed=SEED)
    np.testing.assert_array_equal(words[0, :4], [0, 0, 0, 2])
    np.testing.assert_array_equal(tf.bitcast(words[0, 4:], tf.float32), [0.0, 0.0, -3.0, 2.0])
    np.testing.assert_array_equal(decode(TopK(), words, 8), [-3.0, 0, 2.0, 0, 0, 0, 0, 0])


def test_feedback_keeps_exactly_what_was_not_sent():
    codec, x, old = TopK(), normal(5000), normal(5000, seed=1)
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


def test_momentum_is_masked_where_a_value_was_sent():
    codec, g, u, v = TopK(0.1), normal(1000), normal(1000, seed=1), normal(1000, seed=2)
    velocity, residual = tf.Variable(u), tf.Variable(v)
    words = codec.encode_momentum(
        [tf.constant(g)],
        [velocity],
        [residual],
        momentum=tf.constant(0.9),
        seed=SEED,
        commit=TRUE,
    )
    u = np.float32(0.9) * u + g
    v = v + u
    np.testing.assert_array_equal(decode(codec, words, 1000), sent(v, 100))
    u[largest(v, 100)] = 0
    np.testing.assert_array_equal(velocity.numpy(), u)
    np.testing.assert_array_equal(residual.numpy(), v - sent(v, 100))


def test_without_commit_velocity_and_residual_stay_as_they_are():
    velocity, residual = tf.Variable(normal(100, seed=1)), tf.Variable(normal(100, seed=2))
    TopK().encode_momentum(
        [tf.constant(normal(100))],
        [velocity],
        [residual],
        momentum=tf.constant(0.9),
        seed=SEED,
        commit=FALSE,
    )
    np.testing.assert_array_equal(velocity, normal(100, seed=1))
    np.testing.assert_array_equal(residual, normal(100, seed=2))


def test_encoding_and_decoding_run_in_a_compiled_function():
    x = tf.constant(normal(1000))

    @tf.function
    def there_and_back(x):
        words = TopK().encode([x], seed=SEED)
        return TopK().decode_sum(words[None], [x.shape], initial=ZERO)[0]

    np.testing.assert_array_equal(there_and_back(x), sent(x.numpy(), 10))
