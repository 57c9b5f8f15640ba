"""One all-gather: every replica sends its payload to all others and decodes the sum of all."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.collectives.feedback import ErrorFeedback
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import StepContext
from tfdml.compression import Codec


class OneShot:
    """A replica receives W - 1 payloads, for W replicas: the fewest bytes while W is 2, and one collective.

    Args:
        codec: how gradients become a payload.
        feedback: whether what the codec loses in one step is added to the gradient of the next; None leaves
            it to the codec.
    """

    min_elements = 1024

    def __init__(self, codec: Codec, feedback: bool | None = None):
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
        words = self.feedback.encode(gradients, variables, context, bucket, chunks=1)
        payloads = context.group.all_gather(words)
        return self.codec.decode_sum(
            payloads[:, None, :],
            [gradient.shape for gradient in gradients],
            initial=context.initial,
        )

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        elements = sum(tf.TensorShape(shape).num_elements() for shape in shapes)
        return 4 * (num_replicas - 1) * self.codec.payload_words(elements)
