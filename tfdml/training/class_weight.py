"""`class_weight`, as sample weights in the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfdml.data.source import Source
from tfdml.errors import ConfigError


def with_class_weight(data: Any, class_weight: Mapping[int, float]) -> Any:
    """Return `data` with a sample weight for every label.

    Args:
        data: a `tf.data.Dataset` or `Source` of (x, y) batches, or a function that returns a data set; y holds
            integer labels of shape [B] or [B, 1], or one-hot rows of shape [B, C].
        class_weight: weight of each class; classes that are not named weigh 1.

    Raises:
        ConfigError: keys are not class numbers, or the data set has sample weights already.
    """
    if not class_weight or not all(isinstance(k, int) and k >= 0 for k in class_weight):
        raise ConfigError(
            f"`class_weight` must map class numbers to weights, got {dict(class_weight)!r}. "
            "For example {0: 1.0, 1: 5.0}."
        )
    if not isinstance(data, tf.data.Dataset | Source):
        return lambda context: with_class_weight(data(context), class_weight)
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not isinstance(spec[1], tf.TensorSpec):
        raise ConfigError(
            "`class_weight` needs a data set of (x, y) with one label tensor and no sample weights, got "
            f"{spec}. Put the weights into the data set as a third component."
        )
    size = max(class_weight) + 1
    table = tf.constant([float(class_weight.get(k, 1.0)) for k in range(size)])

    def add_weights(x: Any, y: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor]:
        labels = y
        if y.shape.rank == 2:
            labels = y[:, 0] if y.shape[1] == 1 else tf.argmax(y, axis=-1)
        labels = tf.cast(labels, tf.int32)
        known = tf.gather(table, tf.clip_by_value(labels, 0, size - 1))
        return x, y, tf.where((labels >= 0) & (labels < size), known, 1.0)

    if isinstance(data, Source):
        return data.map_batches(lambda batch: add_weights(*batch))
    return data.map(add_weights, num_parallel_calls=tf.data.AUTOTUNE)
