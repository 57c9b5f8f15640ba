"""Pack many gradients into few flat tensors, because every collective costs (about 0.5 ms even for 40 bytes)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Bucket:
    """Positions of the tensors that travel together; all have one dtype."""

    dtype: tf.DType
    positions: tuple[int, ...]

    def pack(self, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """Concatenate this bucket's members of `tensors` into one flat tensor."""
        members = [tf.reshape(tensors[position], [-1]) for position in self.positions]
        return members[0] if len(members) == 1 else tf.concat(members, axis=0)

    def unpack(self, flat: tf.Tensor, tensors: Sequence[tf.Tensor]) -> dict[int, tf.Tensor]:
        """Cut `flat` back into the shapes that this bucket's members of `tensors` have, by position."""
        shapes = [tensors[position].shape for position in self.positions]
        pieces = tf.split(flat, [shape.num_elements() for shape in shapes])
        return {
            position: tf.reshape(piece, shape)
            for position, piece, shape in zip(self.positions, pieces, shapes, strict=True)
        }


def make_buckets(tensors: Sequence[tf.Tensor], bucket_bytes: int) -> list[Bucket]:
    """Group `tensors` (static shapes) by dtype into buckets of at most `bucket_bytes`, in reverse order.

    Reverse creation order is about the order in which back-propagation finishes, so the first bucket can
    travel while the rest is still being computed. A tensor larger than `bucket_bytes` is a bucket of its own.
    """
    buckets: list[Bucket] = []
    members: dict[tf.DType, list[int]] = {}
    filled: dict[tf.DType, int] = {}
    for position in reversed(range(len(tensors))):
        tensor = tensors[position]
        size = tensor.shape.num_elements() * tensor.dtype.size
        if members.get(tensor.dtype) and filled[tensor.dtype] + size > bucket_bytes:
            buckets.append(Bucket(tensor.dtype, tuple(members.pop(tensor.dtype))))
        if tensor.dtype not in members:
            members[tensor.dtype] = []
            filled[tensor.dtype] = 0
        members[tensor.dtype].append(position)
        filled[tensor.dtype] += size
    buckets += [Bucket(dtype, tuple(positions)) for dtype, positions in members.items()]
    return buckets
