"""Error feedback: what a codec loses in one step is added to the gradient of the next."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import StepContext
from tfdml.compression import Codec

RESIDUAL = "residual"
_PHASE = 0x5BD1E995  # Any odd number: it keeps the two encodings of a two-phase exchange apart.


class ErrorFeedback:
    """Encodes buckets with or without residuals (Seide et al. 2014; Karimireddy et al. 2019, algorithm 2).

    Args:
        codec: how gradients become a payload.
        enabled: None leaves it to the codec: biased ones need it.
    """

    def __init__(self, codec: Codec, enabled: bool | None = None):
        self.codec = codec
        self.enabled = codec.feedback if enabled is None else enabled

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create a residual for each of `variables`."""
        self._state = state
        if self.enabled:
            for variable in variables:
                state.zeros_like(variable, RESIDUAL)

    def residuals(self, variables: Sequence[keras.Variable]) -> list[tf.Variable]:
        """This replica's residuals, in replica context."""
        return [self._state.local(variable, RESIDUAL) for variable in variables]

    def encode(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        context: StepContext,
        bucket: int,
        *,
        chunks: int,
    ) -> tf.Tensor:
        """int32 [chunks, words]."""
        seed = self._seed(context, bucket)
        if not self.enabled:
            return self.codec.encode(gradients, seed=seed, chunks=chunks)
        return self.codec.encode_feedback(
            gradients,
            self.residuals(variables),
            seed=seed,
            commit=context.commit,
            residual_scale=context.residual_scale,
            chunks=chunks,
        )

    def encode_again(
        self,
        chunk: tf.Tensor,
        variables: Sequence[keras.Variable],
        offset: tf.Tensor,
        context: StepContext,
        bucket: int,
    ) -> tf.Tensor:
        """Encode this replica's chunk of the sum, float32 [n], which begins at `offset`: int32 [1, words].

        What is lost goes into this replica's own residuals, which add it to the sum of the next step.
        """
        seed = self._seed(context, bucket) ^ _PHASE
        if not self.enabled:
            return self.codec.encode([chunk], seed=seed)
        return self.codec.encode_remainder(
            chunk, self.residuals(variables), offset, seed=seed, commit=context.commit
        )

    def _seed(self, context: StepContext, bucket: int) -> tf.Tensor:
        replica = -1 if self.codec.shared_seed else context.replica
        return tf.stack([context.step, tf.constant(bucket * 65536) + replica])
