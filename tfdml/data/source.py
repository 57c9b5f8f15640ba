"""Records of shards as an endless stream of batches that can begin anywhere, at the same cost, and has no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.order import AnyOrder, Slice
from tfdml.data.records import RecordSet


class Pair(Protocol):
    """Mixes each record with another one of the same global batch (mixup, cutmix)."""

    def partner_rows(self, rows: tf.Tensor, global_rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """int32 [n] rows of the global batch -> int32 [n], the row that each is mixed with; seed int32 [2]."""

    def mix(self, example: Any, partner: Any, seed: tf.Tensor) -> Any:
        """One record with its partner; `seed` is the record's own."""


@dataclass(frozen=True, eq=False)
class Source:
    """Examples out of `records`, in `order`.

    A record goes through: `parse` (a whole batch of serialised records), `decode` (one example, nothing random:
    what a cache holds), `augment` (one example, with a seed of its own), `pair`, stacking, `batching`.

    Args:
        records: what is read.
        order: which records each step has.
        parse: string [n] -> examples with a leading dimension of n, e.g. `tf.io.parse_example` with features.
            None: an example is the serialised record.
        decode: example -> example. Nothing in it may be random.
        augment: (example, seed int32 [2]) -> example. The seed depends on the order's seed, the record and how
            often it has been drawn (its epoch), so an example is the same on every task and after a restart.
        pair: mixes each example with another one of its global batch.
        ragged: examples differ in shape, and a batch holds RaggedTensors.
        batching: batch -> batch, e.g. padding or packing.
        cache: where decoded examples are kept: None, "memory", or a local directory.
    """

    records: RecordSet
    order: AnyOrder
    parse: Callable[[tf.Tensor], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    augment: Callable[[Any, tf.Tensor], Any] | None = None
    pair: Pair | None = None
    ragged: bool = False
    batching: Callable[[Any], Any] | None = None
    cache: Literal["memory"] | str | None = None

    @property
    def element_spec(self) -> Any:
        """Of batches, with an unknown number of rows."""
        raise NotImplementedError

    def dataset(self, start: Position, part: Slice) -> tf.data.Dataset:
        """An endless data set of the slice's batches from step `start` on.

        A batch has `part.rows(order.rows(step))` rows; where that is none, it has one, the first of the global
        batch, which the caller must not count.
        """
        raise NotImplementedError
