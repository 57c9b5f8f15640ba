"""The exchange without compression: every gradient travels whole and is summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.collectives.buckets import make_buckets
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.slices import sum_slices
from tfdml.errors import ConfigError

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices

DEFAULT_BUCKET_BYTES = 32 * 2**20

# A ring of W replicas passes a tensor on 2 (W - 1) times to sum it, and W - 1 times to gather it. While that many
# bytes have come, the time of a message counts and not its size.
_GATHER_BYTES = 64 * 2**10


class DenseExchange:
    """Sum gradients over all replicas with TensorFlow's all-reduce, one collective a bucket.

    Dense gradients of one dtype share a bucket (upstream's packing fails on mixed dtypes).
    `tf.IndexedSlices` travel as slices: the result holds the slices of all replicas.

    Args:
        bucket_bytes: upper limit of one collective, in bytes.
    """

    has_momentum = False

    def __init__(self, bucket_bytes: int = DEFAULT_BUCKET_BYTES):
        if bucket_bytes < 1:
            raise ConfigError(
                f"`bucket_bytes` must be at least 1, got {bucket_bytes}. "
                f"The default is {DEFAULT_BUCKET_BYTES} (32 MiB)."
            )
        self.bucket_bytes = bucket_bytes

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Nothing to create: the sum of this step is all there is."""

    def reduce(
        self,
        gradients: Sequence[Gradient],
        variables: Sequence[keras.Variable],
        *,
        step: tf.Tensor,
        learning_rate: tf.Tensor | None = None,
    ) -> list[Gradient]:
        """Return the sums over replicas, in the order of `gradients`; call in replica context."""
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            return list(gradients)
        result: list[Gradient | None] = [None] * len(gradients)
        dense = []
        for position, gradient in enumerate(gradients):
            if isinstance(gradient, tf.IndexedSlices):
                result[position] = sum_slices(gradient, variables[position].shape[0])
            else:
                dense.append(position)
        tensors = [gradients[position] for position in dense]
        for bucket in make_buckets(tensors, self.bucket_bytes):
            total = _sum(bucket.pack(tensors), context)
            for index, tensor in bucket.unpack(total, tensors).items():
                result[dense[index]] = tensor
        return result

    def wire_bytes(self, variables: Sequence[keras.Variable], num_replicas: int, step: int) -> int:
        """Bytes that one replica receives in a step: 2 (W - 1) / W times what it has, in a ring of W replicas."""
        size = sum(v.shape.num_elements() * tf.as_dtype(v.dtype).size for v in variables)
        return 2 * (num_replicas - 1) * size // num_replicas


def _sum(flat: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    replicas = context.num_replicas_in_sync
    if replicas * flat.shape.num_elements() * flat.dtype.size > _GATHER_BYTES:
        return raw.sum_over_replicas(flat)
    # All add in the same order, so all get the same bits.
    return tf.add_n(tf.unstack(raw.everyone().all_gather(flat[None])))
