"""What the update rules of `async_rules.py` share: clipping, decay, gradients in the right form and place."""

from __future__ import annotations

import abc
from typing import Any

import keras
import tensorflow as tf

from tfdml.collectives.dense import Gradient
from tfdml.collectives.slices import sum_duplicates
from tfdml.errors import ConfigError
from tfdml.optimizers import keras_private


class AsyncRule(abc.ABC):
    """The update of one Keras optimizer in ops that take the variable's lock: made by `rule_for`.

    Several workers may call `clip` and `apply` at once. Whatever the order in which their updates arrive, each is
    in the variable and in its slots once. All slots are the optimizer's own, so files and checkpoints hold them.

    What is computed is Keras's update of the gradient, with two differences. A `tf.IndexedSlices` touches the rows
    that it names and no other, so its cost does not grow with the table: momentum, and Adam's averages, stand still
    in rows that have no gradient, where Keras lets them decay ("lazy"). And a step reads the state that it finds,
    which another worker may have changed since the gradient was computed: that is what asynchronous means.

    Args:
        optimizer: a Keras optimizer that `rule_for` accepts.
    """

    # Where the optimizer keeps its slots: names of attributes, lists in the order of the variables.
    slots: tuple[str, ...] = ()

    def __init__(self, optimizer: keras.optimizers.Optimizer):
        self.optimizer = optimizer

    def clip(self, gradients: list[Gradient | None]) -> list[Gradient | None]:
        """`gradients` as the optimizer's `clipvalue`, `clipnorm` or `global_clipnorm` limit them.

        These are the gradients of one worker's batch, which nobody sums with another's. Rows of
        `tf.IndexedSlices` that have the same index are added first. Call it on the worker, before `apply`.
        """
        optimizer = self.optimizer
        if not (optimizer.clipvalue or optimizer.clipnorm or optimizer.global_clipnorm):
            return gradients
        summed = [sum_duplicates(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        if optimizer.global_clipnorm:
            return tf.clip_by_global_norm(summed, optimizer.global_clipnorm)[0]
        return [None if gradient is None else self._clip_one(gradient) for gradient in summed]

    def _clip_one(self, gradient: Gradient) -> Gradient:
        if self.optimizer.clipnorm:
            return tf.clip_by_norm(gradient, self.optimizer.clipnorm)
        limit = self.optimizer.clipvalue
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.clip_by_value(gradient.values, -limit, limit)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return tf.clip_by_value(gradient, -limit, limit)

    def apply(
        self,
        gradient: Gradient,
        variable: keras.Variable,
        *,
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        """Update `variable` and its slots by one gradient, on the device that holds them.

        Args:
            gradient: a tensor of the variable's shape, or `tf.IndexedSlices` of its rows; cast to its dtype.
            variable: one that the optimizer was built with.
            step: the number of this update, int64 scalar, from 1: what `increment(optimizer.iterations)` returned.
            learning_rate: a scalar.

        Returns:
            The op of the update, for control dependencies in a graph; None in eager mode. A `tf.function` runs it
            whether or not it is waited for.

        Raises:
            ConfigError: the optimizer is not built, or would have to change rows that have no gradient; the
                variable has a constraint.
        """
        if not self.optimizer.built:
            raise ConfigError(
                f"{type(self.optimizer).__name__} is not built, so it has no slot variables. "
                "Call `optimizer.build(model.trainable_variables)` in the strategy's scope first."
            )
        if variable.constraint is not None or variable.overwrite_with_gradient:
            raise ConfigError(
                f"`{variable.path}` has a constraint, or is overwritten with its gradient (float8), which takes "
                "reading and then writing it, so on parameter servers updates would be lost. Leave the constraint "
                "out, or use a synchronous strategy."
            )
        slots = keras_private.slots(self.optimizer, variable, self.slots)
        decay = keras_private.weight_decay(self.optimizer, variable)
        target = variable.value
        sparse = isinstance(gradient, tf.IndexedSlices)
        if sparse and decay:
            raise ConfigError(
                f"{type(self.optimizer).__name__} has weight_decay={decay}, which changes all rows of "
                f"`{variable.path}`, while its gradient names a few. Before the optimizer is built, call "
                "`optimizer.exclude_from_weight_decay(var_list=[...])` with it, or set weight_decay to None."
            )
        gradient = tf.cast(gradient, target.dtype)
        if sparse:
            # On the worker: so only the sums travel, and an op that walks through the rows meets each once.
            gradient = sum_duplicates(gradient)
        with tf.device(target.handle.device):
            learning_rate = tf.cast(learning_rate, target.dtype)
            slot_values = [slot.value for slot in slots]
            if sparse:
                return self.update_rows(gradient, target, slot_values, step, learning_rate)
            if decay:
                # As Keras: of the value before the update. What others subtract meanwhile stays subtracted.
                subtract(target, target.read_value() * tf.cast(decay, target.dtype), learning_rate)
            return self.update(gradient, target, slot_values, step, learning_rate)

    @abc.abstractmethod
    def update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        """The update by a dense gradient, on the variable's device and in its dtype."""

    @abc.abstractmethod
    def update_rows(
        self,
        gradient: tf.IndexedSlices,
        variable: tf.Variable,
        slots: list[tf.Variable],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> Any:
        """The same by the gradient of some rows, each of them named once."""


def constant(value: float, like: tf.Variable) -> tf.Tensor:
    """A scalar of the dtype of `like`: raw ops do not convert."""
    return tf.constant(value, like.dtype)


def subtract(variable: tf.Variable, delta: tf.Tensor, factor: tf.Tensor) -> Any:
    """variable -= factor * delta, under the variable's lock."""
    return tf.raw_ops.ResourceApplyGradientDescent(
        var=variable.handle, alpha=factor, delta=delta, use_locking=True
    )


def subtract_rows(
    variable: tf.Variable, delta: tf.Tensor, indices: tf.Tensor, factor: tf.Tensor
) -> Any:
    """variable[indices] -= factor * delta, under the variable's lock.

    ResourceScatterSub and ResourceScatterAdd, which are behind `tf.Variable.scatter_sub`, take the lock for reading
    only: threads that hit the same row lose updates. The proximal step with l1 = l2 = 0 is the same
    subtraction, and takes it for writing.
    """
    zero = constant(0.0, variable)
    return tf.raw_ops.ResourceSparseApplyProximalGradientDescent(
        var=variable.handle,
        alpha=factor,
        l1=zero,
        l2=zero,
        grad=delta,
        indices=indices,
        use_locking=True,
    )
