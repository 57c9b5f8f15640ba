"""Statistics of `BatchNormalization(synchronized=True)` over all replicas, in one collective.

Keras takes three all-reduces (sum, sum of squares, count), loses precision in E[x^2] - E[x]^2, and counts
the padding of empty slices. Here every replica contributes its count, mean and variance, and all combine
them with the formula for parallel variances (Chan, Golub, LeVeque 1979, formula 2.1b):
mean = sum n_r m_r / N, var = sum n_r (v_r + (m_r - mean)^2) / N.

Replaces the private `_compute_moments_sync` of Keras's TensorFlow backend, because the layer has no hook;
outside of a tfdml step it does what Keras does. `tests/training/test_keras_private.py` notices when
upstream changes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from keras.src.backend.tensorflow import nn as keras_nn

from tfdml.training.replica import current

_keras_moments = keras_nn._compute_moments_sync


def install() -> None:
    """Replace Keras's function; harmless when called twice."""
    keras_nn._compute_moments_sync = _synchronized_moments


def _synchronized_moments(
    x: tf.Tensor, axes: Sequence[int], keepdims: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    step = current()
    if step is None:
        return _keras_moments(x, axes, keepdims)
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    if step.num_replicas > 1:
        mean, variance = _combine(x, mean, variance)
    if not keepdims:
        mean, variance = tf.squeeze(mean, axes), tf.squeeze(variance, axes)
    return mean, variance


def _combine(x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    step = current()
    assert step is not None
    channels = tf.size(mean)
    count = tf.cast(tf.size(x) // channels, x.dtype)
    if step.rows is not None:
        count *= tf.cast(step.rows > 0, x.dtype)
    own = tf.concat(
        [tf.reshape(mean, [-1]), tf.reshape(variance, [-1]), tf.reshape(count, [1])], axis=0
    )
    # An all-reduce in which each replica fills its own row is an all-gather, in one collective.
    place = tf.one_hot(step.replica_id, step.num_replicas, dtype=x.dtype)
    context = tf.distribute.get_replica_context()
    rows = context.all_reduce(tf.distribute.ReduceOp.SUM, place[:, None] * own[None, :])
    means, variances, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
    weights = counts / tf.reduce_sum(counts)
    total_mean = tf.reduce_sum(weights * means, axis=0)
    spread = tf.square(means - total_mean[None, :])
    total_variance = tf.reduce_sum(weights * (variances + spread), axis=0)
    return tf.reshape(total_mean, tf.shape(mean)), tf.reshape(total_variance, tf.shape(variance))
