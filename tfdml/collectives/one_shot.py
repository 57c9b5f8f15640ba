"""The exchange of compressed gradients in one all-gather, with error feedback."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.collectives.dense import DenseExchange, Gradient
from tfdml.collectives.replica_state import ReplicaState
from tfdml.compression import Codec

# Smaller tensors, and vectors (biases, norms), cost more to compress than to send.
_MIN_ELEMENTS = 1024
_RESIDUAL = "residual"


class OneShotExchange:
    """Every replica encodes its gradient, gathers the payloads of all, and decodes their sum.

    Error feedback (Seide et al. 2014; Karimireddy et al. 2019, algorithm 2): what the codec lost in one step is
    added to the gradient of the next. In a step whose sum is not finite, which the optimizer skips, every
    residual stays as it was.

    Tensors that are 1-D, have fewer than 1,024 elements, are sparse or not float32 travel dense.

    Args:
        codec: how a vector becomes a payload.
        dense: the exchange for the rest.
    """

    def __init__(self, codec: Codec, dense: DenseExchange):
        self._codec = codec
        self._dense = dense

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create a residual for every variable that may be compressed; call in the strategy's scope."""
        self._state = state
        for variable in variables:
            if _is_large(variable):
                state.zeros_like(variable, _RESIDUAL)

    def reduce(
        self, gradients: Sequence[Gradient], variables: Sequence[keras.Variable]
    ) -> list[Gradient]:
        """Return the sums over replicas, the same bits on every replica; call in replica context."""
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            return list(gradients)
        compressed = [
            position
            for position, (gradient, variable) in enumerate(zip(gradients, variables, strict=True))
            if isinstance(gradient, tf.Tensor)
            and gradient.dtype == tf.float32
            and _is_large(variable)
        ]
        rest = [position for position in range(len(gradients)) if position not in compressed]
        result: list[Gradient | None] = [None] * len(gradients)
        sums = self._dense.reduce(
            [gradients[position] for position in rest], [variables[p] for p in rest]
        )
        for position, total in zip(rest, sums, strict=True):
            result[position] = total
        if not compressed:
            return result
        slots = [self._state.zeros_like(variables[position], _RESIDUAL) for position in compressed]
        residuals = [slot.read_value() for slot in slots]
        flat = tf.concat(
            [
                tf.reshape(gradients[position] + residual, [-1])
                for position, residual in zip(compressed, residuals, strict=True)
            ],
            axis=0,
        )
        size = flat.shape[0]
        words = self._codec.encode(flat)
        payloads = context.all_gather(words[None, :], axis=0)
        payloads.set_shape([context.num_replicas_in_sync, words.shape[0]])
        total = self._codec.decode_sum(payloads, size)
        lost = flat - self._codec.decode_sum(words[None, :], size)
        finite = _all_finite([total, *sums])
        shapes = [variables[position].shape for position in compressed]
        pieces = tf.split(total, [shape.num_elements() for shape in shapes])
        losses = tf.split(lost, [shape.num_elements() for shape in shapes])
        for position, piece, loss, slot, residual in zip(
            compressed, pieces, losses, slots, residuals, strict=True
        ):
            result[position] = tf.reshape(piece, residual.shape)
            slot.assign(tf.where(finite, tf.reshape(loss, residual.shape), residual))
        return result


def _is_large(variable: keras.Variable) -> bool:
    return len(variable.shape) > 1 and variable.shape.num_elements() >= _MIN_ELEMENTS


def _all_finite(sums: Sequence[Gradient]) -> tf.Tensor:
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in sums]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
