"""What the code that Keras calls inside a step must know about the replica it runs on.

Keras's losses, BatchNormalization and random seeds take no argument that could tell them, so the step sets
it here, for the thread that traces it (every replica of a process is traced by a thread of its own).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class ReplicaStep:
    """One step on one replica.

    Attributes:
        replica_id: position among all replicas; an int, or a tensor on TPU.
        num_replicas: replicas in all, n.
        rows: examples in this replica's slice, int32 scalar; 0 for a slice that only holds padding.
            None when all slices of all steps are equal.
        share: n * rows / (rows of the global batch), float64 scalar: 1 when slices are equal. None as `rows`.
    """

    replica_id: int | tf.Tensor
    num_replicas: int
    rows: tf.Tensor | None = None
    share: tf.Tensor | None = None


_local = threading.local()


def current() -> ReplicaStep | None:
    """The step being traced by this thread, or None outside of tfdml's steps."""
    return getattr(_local, "step", None)


@contextmanager
def active(step: ReplicaStep) -> Iterator[None]:
    """Make `step` current while the body is traced."""
    previous = current()
    _local.step = step
    try:
        yield
    finally:
        _local.step = previous
