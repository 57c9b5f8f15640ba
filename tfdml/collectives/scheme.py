"""What a compressed exchange does with one bucket of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import keras
import tensorflow as tf

from tfdml.collectives.raw import Group
from tfdml.collectives.replica_state import ReplicaState


@dataclass(frozen=True)
class StepContext:
    """What all buckets of a step share. The same on all replicas but for `replica` and `group`.

    Attributes:
        step: int32 scalar.
        replica: int32 scalar, this replica's number among all.
        num_replicas: how many there are in all.
        group: the replicas that exchange payloads: all, or one of every task.
        commit: bool scalar: every gradient on every replica is finite, so state may change.
        initial: float32 scalar that sums start from: 0, or NaN without `commit`.
        residual_scale: float32 scalar that residuals are multiplied with before they are added.
    """

    step: tf.Tensor
    replica: tf.Tensor
    num_replicas: int
    group: Group
    commit: tf.Tensor
    initial: tf.Tensor
    residual_scale: tf.Tensor


class Scheme(Protocol):
    """Sums float32 gradients of at least two dimensions over all replicas."""

    min_elements: int
    """Tensors with fewer elements travel dense."""

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create state for `variables`, which are those that this scheme will get."""

    def pays(self, shape: Sequence[int]) -> bool:
        """Whether a gradient of this shape is worth compressing."""

    def reduce(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        context: StepContext,
        bucket: int,
    ) -> list[tf.Tensor]:
        """Return the sums of one bucket; called in replica context. `bucket` counts the buckets of a step."""

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        """Bytes that one replica receives for a bucket of these shapes."""
