"""What an exchange is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import keras
import tensorflow as tf

from tfdml.collectives.dense import Gradient
from tfdml.collectives.replica_state import ReplicaState


class Exchange(Protocol):
    """Sums gradients over all replicas, with the same bits on every replica.

    A value that is not finite on any replica must show in the sum on every replica: the optimizer decides from
    the sum whether to skip the step. State that an exchange keeps must not change in such a step.
    """

    has_momentum: bool
    """Whether sums hold the momentum already, so that the optimizer must have none."""

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create per-replica state for `variables`; called once, in the strategy's scope."""

    def reduce(
        self,
        gradients: Sequence[Gradient],
        variables: Sequence[keras.Variable],
        *,
        step: tf.Tensor,
        learning_rate: tf.Tensor | None = None,
    ) -> list[Gradient]:
        """Return the sums in the order of `gradients`; called in replica context.

        Args:
            gradients: this replica's.
            variables: what they are the gradients of.
            step: integer scalar, the same on all replicas: how many updates there have been.
            learning_rate: float32 scalar of this step; only an exchange that rescales its residuals needs it.
        """

    def wire_bytes(self, variables: Sequence[keras.Variable], num_replicas: int, step: int) -> int:
        """Bytes that one replica receives in step `step`, if every variable has a dense gradient."""
