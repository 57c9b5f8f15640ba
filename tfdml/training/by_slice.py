"""Metrics on parts of a data set, such as the examples of one class, exactly as on the whole.

Every replica adds up what its examples give to the slice that each belongs to, in float64; the sums of all replicas
are added as those of Keras metrics are. So the result does not depend on how many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.errors import ConfigError

EXAMPLES = "examples"


@dataclass(frozen=True)
class Slices:
    """How examples are parted, and what is measured of each.

    Attributes:
        feature: what parts them, such as "label".
        names: of the slices.
        number_of: (x, y) of a batch -> integers [batch]: the number of each example's slice; those out of
            range belong to none.
        values: name of a metric -> (y, outputs) of a batch -> [batch]: what is averaged, such as 1 for a right
            answer and 0 for a wrong one, or a squared error.
        finish: name of a metric -> what is made of its mean, such as the square root.
    """

    feature: str
    names: Sequence[str]
    number_of: Callable[[Any, Any], tf.Tensor]
    values: Mapping[str, Callable[[Any, Any], tf.Tensor]]
    finish: Mapping[str, Callable[[float], float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigError(f"`names` of the slices by {self.feature!r} must not be empty.")
        if not self.values or EXAMPLES in self.values:
            raise ConfigError(
                f"`values` of the slices by {self.feature!r} must name metrics, none of them {EXAMPLES!r}, "
                f"got {list(self.values)}."
            )


def metrics_by_slice(
    model: keras.Model, strategy: tf.distribute.Strategy, data: Any, slices: Slices
) -> dict[str, dict[str, float]]:
    """name of the slice -> {"examples": how many, and name -> mean}; the same on every task.

    Slices without examples are left out.

    Args:
        data: batches of (x, y), as `Trainer.evaluate` takes them.
    """
    from tfdml.training.trainer import Trainer

    with strategy.scope():
        sliced = _Sliced(model, slices)
        sliced.compile(optimizer=None, steps_per_execution=model.steps_per_execution)
    results = Trainer(sliced, strategy).evaluate(data)
    sums = {name: np.atleast_1d(results[name]) for name in (EXAMPLES, *slices.values)}
    return {
        name: {EXAMPLES: int(count)}
        | {
            metric: slices.finish.get(metric, float)(float(sums[metric][number] / count))
            for metric in slices.values
        }
        for number, (name, count) in enumerate(zip(slices.names, sums[EXAMPLES], strict=True))
        if count
    }


class _Sums(keras.metrics.Metric):
    """Sums for each slice, [slices] float64 each: of each value, and of the examples."""

    def __init__(self, slices: Slices):
        super().__init__(name="slices", dtype="float64")
        self._slices = slices
        self._sums = {
            name: self.add_variable(
                [len(slices.names)], "zeros", dtype="float64", name=f"sum_{number}"
            )
            for number, name in enumerate((EXAMPLES, *slices.values))
        }

    def update_state(self, x: Any, y: Any, outputs: Any) -> None:
        number = tf.cast(self._slices.number_of(x, y), tf.int32)
        values = {name: value(y, outputs) for name, value in self._slices.values.items()}
        for name, value in {EXAMPLES: tf.ones_like(number), **values}.items():
            # Numbers that are out of range are dropped, as the function says.
            added = tf.math.unsorted_segment_sum(
                tf.cast(value, tf.float64),
                tf.where(number < len(self._slices.names), number, -1),
                len(self._slices.names),
            )
            self._sums[name].assign(self._sums[name] + added)

    def result(self) -> dict[str, Any]:
        return {name: total.value for name, total in self._sums.items()}


class _Sliced(keras.Model):
    """Evaluates `model`, and keeps sums for each slice."""

    def __init__(self, model: keras.Model, slices: Slices):
        super().__init__(name=f"{model.name}_by_slice")
        self.model = model
        self.sums = _Sums(slices)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.model(x, training=training)

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.sums.update_state(x, y, self(x, training=False))
        return {}
