"""What LARS and LAMB share: a step size of its own for every layer, from the norms of its weights and its update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.optimizers import keras_private

# The names that Keras gives to biases and to the vectors of normalisation layers.
VECTORS = ("bias", "gamma", "beta", "scale")


class LayerwiseOptimizer(keras.optimizers.Optimizer):
    """Base of optimizers that adapt to each variable as a whole.

    A variable that is held in parts (`ShardedEmbedding`) is adapted to part by part.

    Args:
        learning_rate: as in every Keras optimizer.
        weight_decay: added to the update before its norm is taken, unlike in Keras's optimizers, which decay beside
            the update. `exclude_from_weight_decay` works as in Keras.
        exclude_from_adaptation: names of variables, without their layer's, that get the update as it is.
        options: `clipnorm`, `use_ema` and what else every Keras optimizer takes.

    Raises:
        ConfigError: a value that is out of range.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | None,
        exclude_from_adaptation: Sequence[str],
        **options: Any,
    ):
        # Not Keras's own `weight_decay`, which would take effect beside the update.
        super().__init__(learning_rate, weight_decay=None, **options)
        if weight_decay is not None and not weight_decay >= 0:
            raise ConfigError(f"`weight_decay` must be at least 0, got {weight_decay}.")
        self.layer_decay = weight_decay or 0.0
        self.exclude_from_adaptation = check_names(
            "exclude_from_adaptation", exclude_from_adaptation
        )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        super().build(variables)
        self._adapts = [v.name not in self.exclude_from_adaptation for v in variables]

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Called by Keras with one variable of one device, and its summed gradient."""
        index = keras_private.index_of(self, variable)
        self.update(
            tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
            variable,
            tf.cast(learning_rate, variable.dtype),
            index=index,
            decay=self.layer_decay if keras_private.may_decay(self, variable) else 0.0,
            adapts=self._adapts[index],
        )

    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        learning_rate: tf.Tensor,
        *,
        index: int,
        decay: float,
        adapts: bool,
    ) -> None:
        """Change `variable` and its slots, which are number `index` in their lists; all in the variable's dtype."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "weight_decay": self.layer_decay,
            "exclude_from_adaptation": list(self.exclude_from_adaptation),
        }


def check_names(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    """`names` as a tuple.

    Raises:
        ConfigError: it is no list of names.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"`{argument}` must be a list of names of variables, got {names!r}. Use for example {list(VECTORS)}."
        )
    return tuple(names)


def norm(value: Any) -> tf.Tensor:
    """The Euclidean norm, in float32 at least: squares overflow in float16."""
    value = tf.convert_to_tensor(value)
    return tf.norm(value if value.dtype == tf.float64 else tf.cast(value, tf.float32))


def ratio(numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """numerator / denominator; 1 where one of them is 0, so that weights that begin at zero can leave it."""
    one = tf.ones_like(numerator)
    usable = tf.logical_and(numerator > 0, denominator > 0)
    return tf.where(usable, numerator / tf.where(usable, denominator, one), one)
