"""What people write for several workers without tfdml: `strategy.run` in a `tf.function`.

Keras's own optimizer sums the gradients with `MultiWorkerMirroredStrategy`'s default all-reduce, and
`experimental_distribute_dataset` shares out the global batches.
"""

from __future__ import annotations

import time

import keras
import tensorflow as tf


class MultiWorkerLoop:
    """Trains a compiled model, `at_once` steps a call; loss and accuracy are read once a call.

    Args:
        strategy: in whose scope `model` was made.
        model: compiled with a plain Keras optimizer and a loss.
        data: endless global batches.
        at_once: steps of one call of the compiled function.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        data: tf.data.Dataset,
        at_once: int,
    ):
        with strategy.scope():
            loss_metric = keras.metrics.Mean()
            accuracy = keras.metrics.SparseCategoricalAccuracy()
            model.optimizer.build(model.trainable_variables)

        def replica_step(x: tf.Tensor, y: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                loss = model.loss(y, logits)  # Keras divides it by the number of replicas
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)
            loss_metric.update_state(loss * strategy.num_replicas_in_sync)
            accuracy.update_state(y, logits)

        @tf.function
        def many(iterator):
            for _ in tf.range(at_once):
                strategy.run(replica_step, args=next(iterator))
            return loss_metric.result(), accuracy.result()

        self._many, self._at_once = many, at_once
        self._iterator = iter(strategy.experimental_distribute_dataset(data))

    def seconds(self, steps: int) -> float:
        """How long `steps` steps take."""
        begin = time.perf_counter()
        for _ in range(steps // self._at_once):
            loss, accuracy = self._many(self._iterator)
            float(loss), float(accuracy)
        return time.perf_counter() - begin
