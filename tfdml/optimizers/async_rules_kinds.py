"""One rule for each Keras optimizer that has one; `async_rules.rule_for` chooses.

Each says Keras's formula in ops of TensorFlow that take the locks of all variables that they change. lr is the
learning rate, g the gradient.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfdml.native.functions_updates import sparse_adam
from tfdml.optimizers.async_rules_base import AsyncRule, constant, subtract, subtract_rows


class GradientDescentRule(AsyncRule):
    """w -= lr g"""

    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        return subtract(variable, gradient, learning_rate)

    def update_rows(
        self,
        gradient: tf.IndexedSlices,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        return subtract_rows(variable, gradient.values, gradient.indices, learning_rate)


class MomentumRule(AsyncRule):
    """m = momentum m - lr g; w += m, or with nesterov w += momentum m - lr g: Keras's form, not TensorFlow 1's."""

    slots = ("momentums",)

    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        return tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=slots[0].handle,
            lr=learning_rate,
            grad=gradient,
            momentum=constant(self.optimizer.momentum, variable),
            use_nesterov=self.optimizer.nesterov,
            use_locking=True,
        )

    def update_rows(
        self,
        gradient: tf.IndexedSlices,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        return tf.raw_ops.ResourceSparseApplyKerasMomentum(
            var=variable.handle,
            accum=slots[0].handle,
            lr=learning_rate,
            grad=gradient.values,
            indices=gradient.indices,
            momentum=constant(self.optimizer.momentum, variable),
            use_nesterov=self.optimizer.nesterov,
            use_locking=True,
        )


class AdagradRule(AsyncRule):
    """a += g^2; w -= lr g / sqrt(a + epsilon)

    TensorFlow's AdagradV2 divides by sqrt(a) + epsilon, which is something else where a is small. So these are two
    locked ops. Between them another worker may add to a, whose step this one is then shortened by as well; both
    sums are complete all the same.
    """

    slots = ("_accumulators",)

    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        (accumulator,) = slots
        tf.raw_ops.AssignAddVariableOp(resource=accumulator.handle, value=tf.square(gradient))
        scale = self._scale(accumulator.read_value())
        return subtract(variable, learning_rate * gradient / scale, constant(1.0, variable))

    def update_rows(
        self,
        gradient: tf.IndexedSlices,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        (accumulator,) = slots
        values, indices = gradient.values, gradient.indices
        subtract_rows(accumulator, tf.square(values), indices, constant(-1.0, variable))
        scale = self._scale(tf.gather(accumulator, indices))
        return subtract_rows(
            variable, learning_rate * values / scale, indices, constant(1.0, variable)
        )

    def _scale(self, accumulated: tf.Tensor) -> tf.Tensor:
        return tf.sqrt(accumulated + tf.cast(self.optimizer.epsilon, accumulated.dtype))


class AdamRule(AsyncRule):
    """m += (1 - beta_1) (g - m); v += (1 - beta_2) (g^2 - v); w -= alpha m / (sqrt(v) + epsilon)

    with alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t) and t the number of this update (Kingma and Ba 2015, the
    form before section 2.1). Here 1 - beta is computed in the variable's dtype, in Keras before rounding to it: with
    float32 and beta_2 = 0.999 that differs by 5e-5 of itself.
    """

    slots = ("_momentums", "_velocities")

    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        beta_1, beta_2, epsilon = self._constants(variable)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            beta1_power=tf.pow(beta_1, tf.cast(step, variable.dtype)),
            beta2_power=tf.pow(beta_2, tf.cast(step, variable.dtype)),
            lr=learning_rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=gradient,
            use_locking=True,
        )

    def update_rows(
        self,
        gradient: tf.IndexedSlices,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        beta_1, beta_2, epsilon = self._constants(variable)
        step = tf.cast(step, variable.dtype)
        correction = tf.sqrt(1 - tf.pow(beta_2, step)) / (1 - tf.pow(beta_1, step))
        return sparse_adam(
            variable,
            slots[0],
            slots[1],
            gradient.values,
            gradient.indices,
            alpha=learning_rate * correction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
        )

    def _constants(self, variable: tf.Variable) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        optimizer = self.optimizer
        beta_1, beta_2, epsilon = (
            constant(value, variable)
            for value in (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon)
        )
        return beta_1, beta_2, epsilon


class FtrlRule(AsyncRule):
    """Follow the regularised leader, as in McMahan et al. 2013 with Keras's `beta` and shrinkage."""

    slots = ("_accumulators", "_linears")

    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        return tf.raw_ops.ResourceApplyFtrlV2(
            grad=gradient, **self._arguments(variable, slots, learning_rate)
        )

    def update_rows(
        self,
        gradient: tf.IndexedSlices,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        return tf.raw_ops.ResourceSparseApplyFtrlV2(
            grad=gradient.values,
            indices=gradient.indices,
            **self._arguments(variable, slots, learning_rate),
        )

    def _arguments(
        self, variable: tf.Variable, slots: list[tf.Variable], learning_rate: tf.Tensor
    ) -> dict[str, Any]:
        optimizer = self.optimizer
        l2 = constant(optimizer.l2_regularization_strength, variable)
        return {
            "var": variable.handle,
            "accum": slots[0].handle,
            "linear": slots[1].handle,
            "lr": learning_rate,
            "l1": constant(optimizer.l1_regularization_strength, variable),
            "l2": l2 + constant(optimizer.beta, variable) / (2 * learning_rate),
            "l2_shrinkage": constant(optimizer.l2_shrinkage_regularization_strength, variable),
            "lr_power": constant(optimizer.learning_rate_power, variable),
            "use_locking": True,
        }
