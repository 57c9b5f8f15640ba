"""An update by one worker of a parameter-server job, while others make theirs.

A worker computes gradients from the weights as it read them, and pushes them to the parameter servers, which may
have applied others meanwhile. Nothing here waits for another worker. Every update has a number of its own, from a
counter that is increased under its lock: learning-rate schedules, bias correction and `iterations` are exact.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfdml.collectives.push import resolve_push
from tfdml.errors import ConfigError
from tfdml.optimizers.async_rules import increment, rule_for

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


@dataclass
class Step:
    """One step of a worker, while it is traced.

    Attributes:
        number: int64 scalar, the number of the step; the same when it is tried again.
        version: int64 scalar, how many updates had been made about when the weights were read.
        staleness: for each update, how many others came between its reading and its making; -1 for one that was
            skipped, because its gradients were not finite.
    """

    number: tf.Tensor
    version: tf.Tensor
    staleness: list[tf.Tensor] = field(default_factory=list)


_local = threading.local()


@contextmanager
def step_of_worker(optimizer: Any, number: tf.Tensor) -> Iterator[Step]:
    """In this block step `number` is traced: weights are read, the version with them, and one update is made."""
    # Not before them: to hold every op of a step back until the version has come costs 9% of a quick step. So the
    # staleness is short by what comes between the readings of two variables, as it is from weight to weight.
    version = optimizer.iterations.value.read_value()
    _local.step = Step(number, tf.cast(version, tf.int64))
    try:
        yield _local.step
    finally:
        del _local.step


class AsynchronousUpdate:
    """What `DistributedOptimizer.apply` does on parameter servers.

    Args:
        optimizer: the wrapped Keras optimizer.
        compression: how gradients are pushed, as `resolve_exchange` takes it.
        staleness_damping: an update that is s updates late is scaled by 1 / (1 + damping * s); 1 is the rule of
            Zhang et al. 2016 (Staleness-aware Async-SGD, equation 5) with s + 1 for their tau. 0 is none.
        scales_loss: whether gradients may be too large, and a step is to be skipped then.

    Raises:
        ConfigError: an optimizer without locked updates, or a compression that takes all workers at once.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        compression: str | Mapping[str, Any] | None,
        staleness_damping: float = 0.0,
        *,
        scales_loss: bool = False,
    ):
        if not staleness_damping >= 0:
            raise ConfigError(
                f"`staleness_damping` must be at least 0, got {staleness_damping!r}. 0 scales nothing."
            )
        self._optimizer = optimizer
        self._damping = staleness_damping
        self._rule = rule_for(optimizer)
        self.push = resolve_push(compression)
        # As with the exchange of a synchronous step, where nobody could be harmed but the weights: a condition around
        # the update takes 9% of a quick step.
        self._skips = scales_loss or self.push.compresses

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[keras.Variable]) -> None:
        """Push unscaled `gradients` and update `variables`; on a worker.

        Where the loss is scaled or pushes are compressed, gradients that are not finite are not pushed.
        """
        step: Step | None = getattr(_local, "step", None)
        if step is None:
            raise ConfigError(
                "on parameter servers DistributedOptimizer.apply works in tfdml.Trainer, got a step of another loop. "
                "Use tfdml.Trainer.fit."
            )

        def update() -> tf.Tensor:
            number = increment(self._optimizer.iterations)
            staleness = number - 1 - step.version
            rate = self._learning_rate(number, staleness)
            clipped = self._rule.clip(list(gradients))
            done = []
            for salt, (gradient, variable) in enumerate(zip(clipped, variables, strict=True)):
                assert gradient is not None
                if isinstance(gradient, tf.Tensor):
                    # By the step, not the update: so encoding need not wait for the counter's answer.
                    gradient = self.push.send(gradient, variable, step=step.number, salt=salt)
                done.append(self._rule.apply(gradient, variable, step=number, learning_rate=rate))
            with tf.control_dependencies([tf.group(*done)]):  # from each ps one signal
                return tf.identity(staleness)

        if not self._skips:
            step.staleness.append(update())
            return
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(_values(g))) for g in gradients])
        step.staleness.append(tf.cond(finite, update, lambda: tf.constant(-1, tf.int64)))

    def _learning_rate(self, number: tf.Tensor, staleness: tf.Tensor) -> tf.Tensor:
        """That of update `number`, from 1; a schedule sees the updates before it, as Keras counts."""
        optimizer = self._optimizer
        before = tf.cast(number - 1, optimizer.iterations.dtype)
        with keras.StatelessScope(state_mapping=[(optimizer.iterations, before)]):
            rate = tf.cast(tf.convert_to_tensor(optimizer.learning_rate), tf.float32)
        if not self._damping:
            return rate
        return rate / (1.0 + self._damping * tf.cast(staleness, tf.float32))


def _values(gradient: Gradient) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
