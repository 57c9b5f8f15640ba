"""LARS: momentum whose step size is a part of each layer's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.optimizers.layerwise import VECTORS, LayerwiseOptimizer, norm, ratio


@keras.saving.register_keras_serializable(package="tfdml")
class Lars(LayerwiseOptimizer):
    """You et al. 2017 (Large Batch Training of Convolutional Networks), algorithm 1.

    For each variable, with gradient g, weights w, learning rate r, decay d, momentum m:

        v <- m v + r t (|w| / (|g| + d |w|)) (g + d w),    w <- w - v

    Excluded variables have v <- m v + r (g + d w). A norm of 0 makes the fraction 1.

    A `.keras` file loads with its optimizer after `import tfdml.optimizers`, and with `compile=False` anywhere.

    Args:
        learning_rate: r; with a trust coefficient of 0.001 usual values are 1 and more.
        momentum: m.
        trust_coefficient: t, the size of an update as a part of the layer's weights at a learning rate of 1.
        weight_decay: d.
        exclude_from_adaptation: names of variables, without their layer's.
        options: as in every Keras optimizer.

    Raises:
        ConfigError: a value that is out of range.
    """

    def __init__(
        self,
        learning_rate: Any = 1.0,
        momentum: float = 0.9,
        *,
        trust_coefficient: float = 1e-3,
        weight_decay: float | None = None,
        exclude_from_adaptation: Sequence[str] = VECTORS,
        **options: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            exclude_from_adaptation=exclude_from_adaptation,
            **options,
        )
        if not 0 <= momentum < 1:
            raise ConfigError(f"`momentum` must be in [0, 1), got {momentum}.")
        if not trust_coefficient > 0:
            raise ConfigError(f"`trust_coefficient` must be positive, got {trust_coefficient}.")
        self.momentum, self.trust_coefficient = momentum, trust_coefficient

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

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
        weights = tf.convert_to_tensor(variable)
        step = gradient + decay * weights
        if adapts:
            size = norm(weights)
            local = ratio(size, norm(gradient) + decay * size)
            trusted = self.trust_coefficient * tf.cast(local, variable.dtype)
            learning_rate = learning_rate * trusted
        velocity = self.velocities[index]
        moved = self.momentum * tf.convert_to_tensor(velocity.value) + learning_rate * step
        self.assign(velocity, moved)
        self.assign_sub(variable, moved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
        }
