"""Padded batches: sequences of different lengths -> one tensor, and where it holds padding.

Source(records, order, parse=..., ragged=True, batching=Padded(boundaries=(128, 256, 512)))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import tensorflow as tf

from tfdml.errors import ConfigError


@dataclass(frozen=True)
class Padded:
    """Pads every RaggedTensor of a batch along its second dimension; other tensors stay as they are.

    A sequence is padded to the longest of the batch, to the next multiple of a number, or to the next of
    some lengths. Few different lengths mean few compilations (XLA) and tensors of one shape on every
    replica. The batch is a task's part of the global batch: without `boundaries` of one length, two tasks
    may pad the same step to different lengths, which a model that masks does not notice.

    Attributes:
        multiple_of: 1 pads to the longest.
        boundaries: lengths in rising order; one alone gives every batch that length, as a static shape.
        too_long: what becomes of a sequence longer than the last boundary.
        value: what padding is made of, for all features, or feature -> value in a batch of dicts; strings
            are padded with "" and features without an entry with 0. With 0, `mask_zero=True` of a Keras
            Embedding, or a Masking layer, makes Keras's own mask.
        mask: adds a bool tensor [rows, length] FEATURE_mask beside each padded FEATURE of a dict, true
            where it holds a sequence. For sequences in which the value of the padding means something.
    """

    multiple_of: int = 1
    boundaries: tuple[int, ...] = ()
    too_long: Literal["error", "truncate"] = "error"
    value: float | Mapping[str, float] = 0
    mask: bool = False
    _values: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.multiple_of < 1:
            raise ConfigError(
                f"`multiple_of` must be at least 1, got {self.multiple_of}. 1 pads to the longest."
            )
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        rising = all(a < b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False))
        if not rising or any(length < 1 for length in self.boundaries):
            raise ConfigError(
                f"`boundaries` must be positive lengths in rising order, got {self.boundaries}. "
                "Use for example (128, 256, 512)."
            )
        if self.boundaries and self.multiple_of > 1:
            raise ConfigError(
                f"`boundaries` {self.boundaries} and `multiple_of` {self.multiple_of} were given. Use one."
            )
        if self.too_long not in ("error", "truncate"):
            raise ConfigError(f"`too_long` must be error or truncate, got {self.too_long!r}.")
        object.__setattr__(self, "_values", self.value if isinstance(self.value, Mapping) else {})

    def __call__(self, batch: Any) -> Any:
        """A batch without RaggedTensors: nested tuples and dicts as before."""
        return self._padded(batch, "")

    def _padded(self, part: Any, name: str) -> Any:
        if isinstance(part, Mapping):
            padded = {key: self._padded(value, key) for key, value in part.items()}
            if self.mask:
                padded |= self._masks(part, padded)
            return padded
        if isinstance(part, list | tuple):
            return type(part)(self._padded(value, "") for value in part)
        if not isinstance(part, tf.RaggedTensor):
            return part
        if self.mask and not name:
            raise ConfigError(
                "`mask=True` names each mask after its feature, got a batch that is no dict. Let `parse` "
                "return dicts, or give `value` something that no sequence holds and mask by it."
            )
        length = self._length(part)
        value = self._values.get(name, 0) if self._values else self.value
        filling = tf.constant("") if part.dtype == tf.string else tf.cast(value, part.dtype)
        inner = part.shape[2:]
        dense = part.to_tensor(filling, shape=tf.stack([-1, length, *([-1] * inner.rank)]))
        dense.set_shape([None, None, *inner])
        return _with_length(dense, self.boundaries)

    def _masks(self, part: Mapping[str, Any], padded: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        masks = {}
        for key, value in part.items():
            if isinstance(value, tf.RaggedTensor):
                lengths = tf.cast(value.row_lengths(), tf.int32)
                mask = tf.sequence_mask(lengths, tf.shape(padded[key])[1])
                masks[f"{key}_mask"] = _with_length(mask, self.boundaries)
        return masks

    def _length(self, ragged: tf.RaggedTensor) -> tf.Tensor:
        longest = tf.maximum(tf.reduce_max(ragged.row_lengths()), 1)
        if not self.boundaries:
            return -(-longest // self.multiple_of) * self.multiple_of
        boundaries = tf.constant(self.boundaries, longest.dtype)
        checks = []
        if self.too_long == "error":
            message = (
                f"a sequence is longer than the last of the boundaries, {self.boundaries[-1]}. Add a "
                'longer one, or use too_long="truncate".'
            )
            checks = [tf.debugging.assert_less_equal(longest, boundaries[-1], message)]
        with tf.control_dependencies(checks):
            place = tf.searchsorted(boundaries, longest[tf.newaxis])[0]
        return boundaries[tf.minimum(place, len(self.boundaries) - 1)]


def _with_length(padded: tf.Tensor, boundaries: tuple[int, ...]) -> tf.Tensor:
    if len(boundaries) == 1:
        padded.set_shape([None, boundaries[0], *[None] * (padded.shape.rank - 2)])
    return padded
