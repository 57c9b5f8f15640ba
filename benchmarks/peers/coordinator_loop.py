"""What people write for parameter servers without tfdml: `ClusterCoordinator.schedule` of a `tf.function`.

A data set for each worker, `strategy.run` of a step, Keras's own optimizer and metrics, `join` at the end of an
epoch, as in TensorFlow's tutorial. Keras updates variables by reading and then writing them, so some updates and
some counts of the metrics are lost when two workers meet: it is faster than it is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class HandWrittenLoop:
    """Trains a compiled model on all workers, `at_once` steps a closure; loss and accuracy are read once an epoch.

    Args:
        strategy: in whose scope `model` was made.
        coordinator: of this strategy.
        model: compiled with a plain Keras optimizer and a loss.
        dataset: makes endless batches; every worker runs its graph.
        at_once: steps of one scheduled closure.
    """

    def __init__(
        self,
        strategy: tf.distribute.ParameterServerStrategy,
        coordinator: Any,
        model: keras.Model,
        dataset: Callable[[], tf.data.Dataset],
        at_once: int,
    ):
        with strategy.scope():
            self._loss_metric = keras.metrics.Mean()
            self._accuracy = keras.metrics.SparseCategoricalAccuracy()
            model.optimizer.build(model.trainable_variables)

        def replica_step(x: tf.Tensor, y: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                loss = model.loss(y, logits)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)
            self._loss_metric.update_state(loss)
            self._accuracy.update_state(y, logits)

        @tf.function
        def closure(iterator):
            if at_once == 1:
                strategy.run(replica_step, args=next(iterator))
            else:
                for _ in tf.range(at_once):
                    strategy.run(replica_step, args=next(iterator))

        self._closure, self._at_once = closure, at_once
        self._coordinator = coordinator
        self._iterator = iter(coordinator.create_per_worker_dataset(dataset))

    def seconds(self, steps: int) -> float:
        """How long an epoch of `steps` steps takes."""
        self._loss_metric.reset_state()
        self._accuracy.reset_state()
        begin = time.perf_counter()
        for _ in range(steps // self._at_once):
            self._coordinator.schedule(self._closure, args=(self._iterator,))
        self._coordinator.join()
        float(self._loss_metric.result()), float(self._accuracy.result())
        return time.perf_counter() - begin
