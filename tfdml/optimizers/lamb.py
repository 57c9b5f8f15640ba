"""LAMB: Adam whose step size is a part of each layer's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.optimizers.layerwise import VECTORS, LayerwiseOptimizer, norm, ratio


@keras.saving.register_keras_serializable(package="tfdml")
class Lamb(LayerwiseOptimizer):
    """You et al. 2020 (Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes), algorithm 2.

    For each variable, with Adam's bias-corrected averages a and b, weights w, learning rate r, decay d:

        u = a / (sqrt(b) + epsilon) + d w,    w <- w - r (|w| / |u|) u

    Excluded variables have w <- w - r u. A norm of 0 makes the fraction 1. The paper's phi is the identity.

    Keras 3.15's own Lamb is this without decay and exclusions; with `weight_decay` it subtracts r d w beside the
    update, before the fraction is taken, which is not the paper's.

    A `.keras` file loads with its optimizer after `import tfdml.optimizers`, and with `compile=False` anywhere.

    Args:
        learning_rate: r.
        beta_1, beta_2, epsilon: of Adam; 1e-6 is the paper's epsilon.
        weight_decay: d.
        exclude_from_adaptation: names of variables, without their layer's.
        options: as in every Keras optimizer.

    Raises:
        ConfigError: a value that is out of range.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        *,
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
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ConfigError(f"`{name}` must be in [0, 1), got {beta}.")
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
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
        dtype, weights = variable.dtype, tf.convert_to_tensor(variable)
        count = tf.cast(self.iterations.value + 1, dtype)
        average, square = self.momentums[index], self.velocities[index]
        new_average = _towards(average, gradient, self.beta_1)
        new_square = _towards(square, tf.square(gradient), self.beta_2)
        self.assign(average, new_average)
        self.assign(square, new_square)
        corrected = new_average / (1 - tf.constant(self.beta_1, dtype) ** count)
        spread = tf.sqrt(new_square / (1 - tf.constant(self.beta_2, dtype) ** count))
        step = corrected / (spread + self.epsilon) + decay * weights
        if adapts:
            learning_rate = learning_rate * tf.cast(ratio(norm(weights), norm(step)), dtype)
        self.assign_sub(variable, learning_rate * step)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


def _towards(slot: keras.Variable, target: tf.Tensor, beta: float) -> tf.Tensor:
    old = tf.convert_to_tensor(slot.value)
    return old + (target - old) * (1 - beta)
