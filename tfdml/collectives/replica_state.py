"""Tensors that differ from replica to replica and outlive a step: accumulators, and later residuals."""

from __future__ import annotations

import keras
import tensorflow as tf


class ReplicaState:
    """Per-replica variables, keyed by the model variable they belong to and a name.

    They are not optimizer variables: a checkpoint of the model does not hold them, and every task owns
    its own part.
    """

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], tf.Variable] = {}

    def zeros_like(self, variable: keras.Variable, name: str) -> tf.Variable:
        """The slot `name` of `variable`: zeros of its shape and dtype at first, one copy a replica.

        Call in the strategy's scope the first time.
        """
        key = (variable.path, name)
        if key not in self._slots:
            with tf.init_scope():
                self._slots[key] = tf.Variable(
                    tf.zeros(variable.shape, variable.dtype),
                    trainable=False,
                    name=name,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
        return self._slots[key]

    def __len__(self) -> int:
        return len(self._slots)
