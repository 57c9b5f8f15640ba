"""What an exchange is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import keras

from tfdml.collectives.dense import Gradient
from tfdml.collectives.replica_state import ReplicaState


class Exchange(Protocol):
    """Sums gradients over all replicas, with the same bits on every replica.

    A value that is not finite on any replica must show in the sum on every replica: the optimizer decides from
    the sum whether to skip the step. State that an exchange keeps must not change in such a step.
    """

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create per-replica state for `variables`; called once, in the strategy's scope."""

    def reduce(
        self, gradients: Sequence[Gradient], variables: Sequence[keras.Variable]
    ) -> list[Gradient]:
        """Return the sums in the order of `gradients`; called in replica context."""
