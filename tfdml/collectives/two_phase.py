"""All-to-all of chunks, then all-gather of their sums: the same bytes whatever the number of replicas."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.collectives.feedback import ErrorFeedback
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import StepContext
from tfdml.compression import Codec


class TwoPhase:
    """Every replica sums one chunk of the gradients of all, encodes the sum again, and sends it to all.

    A replica receives 2 (W - 1) / W payloads, for W replicas: fewer bytes than one all-gather from W = 3 on,
    for one collective and one encoding more. What the second encoding loses is added to the residuals of the
    replica that did it (as the compressed reduction of 1-bit Adam does with a second set: Tang et al. 2021,
    section 4; one set is enough, because the sum of residuals and outputs is the same).

    Args:
        codec: how gradients become a payload; one that can be split into chunks.
        feedback: as in OneShot.
    """

    min_elements = 1024

    def __init__(self, codec: Codec, feedback: bool | None = None):
        codec.payload_words(1, chunks=2)  # Raises where it cannot be split.
        self.codec = codec
        self.feedback = ErrorFeedback(codec, feedback)

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        self.feedback.build(variables, state)

    def pays(self, shape: Sequence[int]) -> bool:
        return True

    def reduce(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        context: StepContext,
        bucket: int,
    ) -> list[tf.Tensor]:
        shapes = [gradient.shape for gradient in gradients]
        elements = sum(shape.num_elements() for shape in shapes)
        chunk_elements = self.codec.chunk_elements(elements, context.group.size)
        words = self.feedback.encode(
            gradients, variables, context, bucket, chunks=context.group.size
        )
        received = context.group.all_to_all(words)
        (chunk,) = self.codec.decode_sum(
            received[:, None, :], [tf.TensorShape([chunk_elements])], initial=context.initial
        )
        offset = tf.cast(context.group.rank, tf.int64) * chunk_elements
        again = self.feedback.encode_again(chunk, variables, offset, context, bucket)
        payload = context.group.all_gather(again)
        return self.codec.decode_sum(payload[None, :, :], shapes, initial=context.initial)

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        elements = sum(tf.TensorShape(shape).num_elements() for shape in shapes)
        return 8 * (num_replicas - 1) * self.codec.payload_words(elements, chunks=num_replicas)
