"""Dense between the devices of a task, compressed between tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import Scheme, StepContext


class Hierarchical:
    """Adds up the gradients of a task's replicas, exchanges the sums between tasks, and hands the result round.

    Every bucket has one replica in each task that exchanges it, with `scheme`, and keeps its state; buckets
    take turns over the replicas of a task. So a task sends one payload instead of one for each of its devices.

    Args:
        scheme: what happens between tasks; it sees as many replicas as there are tasks.
    """

    def __init__(self, scheme: Scheme):
        self._scheme = scheme
        self.min_elements = scheme.min_elements

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        self._scheme.build(variables, state)
        self._local_replicas = raw.num_local_replicas()

    def pays(self, shape: Sequence[int]) -> bool:
        return self._scheme.pays(shape)

    def reduce(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        context: StepContext,
        bucket: int,
    ) -> list[tf.Tensor]:
        shapes = [gradient.shape for gradient in gradients]
        within = raw.within_task()
        total = within.all_reduce(_flat(gradients))
        # Every replica has a graph of its own, so this is decided when it is made.
        if raw.local_replica() == bucket % within.size:
            between = dataclasses.replace(context, group=raw.across_tasks())
            total = _flat(self._scheme.reduce(_cut(total, shapes), variables, between, bucket))
        else:
            total = tf.zeros_like(total)
        return _cut(within.all_reduce(total), shapes)

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        """Between tasks, on average over the replicas of a task."""
        tasks = num_replicas // self._local_replicas
        return self._scheme.wire_bytes(shapes, tasks) // self._local_replicas


def _flat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def _cut(flat: tf.Tensor, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
    pieces = tf.split(flat, [shape.num_elements() for shape in shapes])
    return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]
