"""The exchange that compresses large gradients and sends the rest dense."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.collectives.buckets import make_buckets
from tfdml.collectives.dense import DenseExchange, Gradient
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import Scheme, StepContext
from tfdml.native.functions_block import all_finite

LEARNING_RATE = "learning_rate"


class CompressedExchange:
    """Splits gradients into those that `scheme` compresses, in buckets, and those that travel dense.

    Tensors that are 1-D, small, sparse, or not float32 travel dense: they cost more to compress than to send.
    The dense part goes first and carries one value more, NaN where a gradient of this replica is not finite:
    so every replica knows before it encodes whether residuals may change, at the price of no collective (of a
    tiny one, where nothing else travels dense).

    Buckets do not wait for each other: while one travels, the next is encoded.

    Args:
        scheme: what happens to a bucket.
        dense: the exchange for the rest.
        bucket_bytes: upper limit of one bucket, in bytes of float32.
        rescale_residuals: multiply residuals with the ratio of the last learning rate to the present one, so
            that what was left over at one rate is not applied at another.
    """

    has_momentum = False

    def __init__(
        self,
        scheme: Scheme,
        dense: DenseExchange,
        bucket_bytes: int,
        *,
        rescale_residuals: bool = False,
    ):
        self.scheme = scheme
        self._dense = dense
        self._bucket_bytes = bucket_bytes
        self._rescale = rescale_residuals

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create the state of the scheme; call in the strategy's scope."""
        self._state = state
        self.scheme.build(
            [variable for variable in variables if self._may_compress(variable)], state
        )
        if self._rescale:
            state.scalar(LEARNING_RATE)

    def reduce(
        self,
        gradients: Sequence[Gradient],
        variables: Sequence[keras.Variable],
        *,
        step: tf.Tensor,
        learning_rate: tf.Tensor | None = None,
    ) -> list[Gradient]:
        """Return the sums over replicas, the same bits on every replica; call in replica context."""
        replica_context = tf.distribute.get_replica_context()
        num_replicas = replica_context.num_replicas_in_sync
        if num_replicas == 1:
            return list(gradients)
        compressed = [
            position
            for position, (gradient, variable) in enumerate(zip(gradients, variables, strict=True))
            if isinstance(gradient, tf.Tensor) and self._may_compress(variable)
        ]
        rest = [position for position in range(len(gradients)) if position not in compressed]
        large = [gradients[position] for position in compressed]
        probe = tf.where(all_finite(large), 0.0, float("nan"))
        *sums, probe = self._dense.reduce(
            [*(gradients[position] for position in rest), tf.reshape(probe, [1])],
            [
                *(variables[position] for position in rest),
                variables[0],
            ],  # the probe belongs to none
            step=step,
        )
        result: list[Gradient | None] = [None] * len(gradients)
        for position, total in zip(rest, sums, strict=True):
            result[position] = total
        commit = all_finite([probe, *(_values(total) for total in sums)])
        context = StepContext(
            step=tf.cast(step, tf.int32),
            replica=tf.cast(replica_context.replica_id_in_sync_group, tf.int32),
            num_replicas=num_replicas,
            group=raw.everyone(),
            commit=commit,
            initial=tf.where(commit, 0.0, float("nan")),
            residual_scale=self._residual_scale(learning_rate, commit),
        )
        for number, bucket in enumerate(make_buckets(large, self._bucket_bytes)):
            members = [compressed[position] for position in bucket.positions]
            totals = self.scheme.reduce(
                [gradients[position] for position in members],
                [variables[position] for position in members],
                context,
                number,
            )
            for position, total in zip(members, totals, strict=True):
                result[position] = total
        return result

    def wire_bytes(self, variables: Sequence[keras.Variable], num_replicas: int, step: int) -> int:
        """Bytes that one replica receives in a step."""
        compressed = [variable for variable in variables if self._may_compress(variable)]
        rest = [variable for variable in variables if not self._may_compress(variable)]
        shapes = [tuple(variable.shape) for variable in compressed]
        return self.scheme.wire_bytes(shapes, num_replicas) + self._dense.wire_bytes(
            rest, num_replicas, step
        )

    def _may_compress(self, variable: keras.Variable) -> bool:
        return (
            variable.dtype == "float32"
            and len(variable.shape) > 1
            and variable.shape.num_elements() >= self.scheme.min_elements
            and self.scheme.pays(tuple(variable.shape))
        )

    def _residual_scale(self, learning_rate: tf.Tensor | None, commit: tf.Tensor) -> tf.Tensor:
        if not self._rescale or learning_rate is None:
            return tf.constant(1.0)
        slot = self._state.scalar(LEARNING_RATE)
        last, now = slot.read_value(), tf.cast(learning_rate, tf.float32)
        usable = tf.logical_and(last > 0.0, now > 0.0)
        with tf.control_dependencies([last]):
            slot.assign(tf.where(tf.logical_and(commit, now > 0.0), now, last))
        return tf.where(usable, tf.math.divide_no_nan(last, now), 1.0)


def _values(gradient: Gradient) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
