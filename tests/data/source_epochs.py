"""Whole epochs out of a Source, as one task that is all the job reads them."""

from __future__ import annotations

from typing import Any

from tfdml.checkpoint import Position
from tfdml.data.order import Slice
from tfdml.data.source import Source


def batches(source: Source, epoch: int = 0) -> list[Any]:
    """The global batches of an epoch, of tensors."""
    steps = source.order.steps_per_epoch
    start = Position(epoch, 0, epoch * steps)
    return list(source.dataset(start, Slice()).take(steps))
