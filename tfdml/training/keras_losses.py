"""Keras's loss reduction, right for slices of unequal size.

A replica's loss in Keras is L_r = (1/n) S_r / D_r: S_r the sum of its examples' losses, D_r the loss's own
denominator. Summed over replicas this is the global batch's loss S / D only if all D_r are equal. With
k_r = n D_r / sum_s D_s it is always right: sum_r k_r L_r = (sum_r S_r) / (sum_s D_s). Because sum_r k_r = n,
regularisers (which Keras scales with 1/n too) stay as they are.

For a plain mean over the batch D_r is proportional to the rows of the slice, so k_r is the slice's `share`
and no replica has to ask. Masks and `mean_with_sample_weight` have a D_r that depends on the data: one small
all-reduce a loss. `reduction="sum"` has no denominator, so k_r = 1.

The three functions below replace private ones of `keras.src.losses.loss`, because Keras has no hook there;
outside of a tfdml step they do what Keras does. `tests/training/test_keras_private.py` notices when
upstream changes them.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras.src.losses import loss as keras_loss

from tfdml.collectives import raw
from tfdml.training.replica import ReplicaStep, current

_keras_scale = keras_loss.scale_loss_for_distribution
_keras_unscale = keras_loss.unscale_loss_for_distribution
_keras_reduce = keras_loss.reduce_weighted_values

# Reductions that divide by a count.
_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def install() -> None:
    """Replace Keras's functions; harmless when called twice."""
    keras_loss.scale_loss_for_distribution = _scale
    keras_loss.unscale_loss_for_distribution = _unscale
    keras_loss.reduce_weighted_values = _reduce_weighted_values


def weigh_by_rows(tracker: keras.metrics.Mean) -> None:
    """Make the metric of one output's loss count examples.

    Keras weighs it with the static batch size and, where that is not known, counts batches: an example in a
    short last batch, or in a smaller slice, would count more than others.
    """
    if "update_state" in vars(tracker):
        return
    update_state = tracker.update_state

    def update(values: Any, sample_weight: Any = None) -> Any:
        step = current()
        if step is not None and step.rows is not None:
            sample_weight = step.rows
        return update_state(values, sample_weight=sample_weight)

    tracker.update_state = update


def _factor(step: ReplicaStep, dtype: tf.DType) -> tf.Tensor:
    """share / n in `dtype`. Keras casts 1/n through float32, which costs float64 runs 3e-8."""
    if step.share is None:
        return tf.constant(1.0 / step.num_replicas, dtype)
    return tf.cast(step.share / step.num_replicas, dtype)


def _scale(value: Any) -> Any:
    step = current()
    if step is None:
        return _keras_scale(value)
    if step.num_replicas == 1:
        return value
    return value * _factor(step, value.dtype)


def _unscale(value: Any) -> Any:
    """S_r / D_r again, for the loss metric, which weights it with the rows of the slice."""
    step = current()
    if step is None:
        return _keras_unscale(value)
    if step.num_replicas == 1:
        return value
    return tf.math.divide_no_nan(value, _factor(step, value.dtype))


def _reduce_weighted_values(
    values: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: Any = None,
) -> Any:
    loss = _keras_reduce(values, sample_weight, mask, reduction, dtype)
    step = current()
    if step is None or step.num_replicas == 1 or reduction not in _MEANS:
        return loss
    if mask is not None and reduction != "mean_with_sample_weight":
        denominator = tf.reduce_sum(tf.cast(mask, loss.dtype))
    elif reduction == "mean_with_sample_weight" and (sample_weight is not None or mask is not None):
        weights = keras_loss.apply_mask(sample_weight, mask, loss.dtype, reduction)
        denominator = tf.reduce_sum(tf.cast(weights, loss.dtype))
    else:
        return loss
    denominator = tf.stop_gradient(denominator)
    if step.rows is not None:
        denominator *= tf.cast(step.rows > 0, loss.dtype)
    total = raw.sum_over_replicas(denominator)
    # k_r / share, because `loss` already holds share / n.
    correction = tf.math.divide_no_nan(denominator, total)
    return loss * tf.math.divide_no_nan(correction, _factor(step, loss.dtype))
