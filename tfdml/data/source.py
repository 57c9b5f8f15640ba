"""Records of shards as an endless stream of batches that can begin anywhere, at the same cost, and has no state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data import example_cache, pipeline
from tfdml.data.order import AnyOrder, Slice
from tfdml.data.records import RecordSet
from tfdml.errors import ConfigError


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

    Raises:
        ConfigError: the order is of another number of records, or reads more remote shards together than may be kept.
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

    def __post_init__(self) -> None:
        if self.order.num_records != self.records.num_records:
            raise ConfigError(
                f"the order is of {self.order.num_records} records, and there are {self.records.num_records}. "
                "Make it with num_records=records.num_records."
            )
        self.records.in_order(self.order)

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps_per_epoch

    @functools.cached_property
    def element_spec(self) -> Any:
        """Of batches, with an unknown number of rows."""
        spec, _, _ = self.slices(Position(0, 0, 0), Slice()).element_spec
        return tf.nest.map_structure(_any_rows, spec)

    def map_batches(self, function: Callable[[Any], Any]) -> Source:
        """The same source, with `function` (batch -> batch) applied to every batch."""
        before = self.batching
        both = function if before is None else lambda batch: function(before(batch))
        return replace(self, batching=both)

    def dataset(self, start: Position, part: Slice) -> tf.data.Dataset:
        """An endless data set of the slice's batches from step `start` on.

        A batch has `part.rows(order.rows(step))` rows; where that is none, it has one, the first of the global
        batch, which the caller must not count.
        """
        return pipeline.batches(self, self._look_up, start, part, with_counts=False)

    def slices(self, start: Position, part: Slice) -> tf.data.Dataset:
        """As `dataset`, of (batch, rows, global_rows): how many rows count, and those of the global batch, int32."""
        return pipeline.batches(self, self._look_up, start, part, with_counts=True)

    def steps(self, start: Position, num_steps: tf.Tensor | int) -> tf.data.Dataset:
        """As `slices` of whole global batches, and of so many steps; in a graph `start` may hold int64 tensors."""
        return pipeline.batches(
            self, self._look_up, start, Slice(), with_counts=True, num_steps=num_steps
        )

    @functools.cached_property
    def _look_up(self) -> Callable[[tf.Tensor], Any] | None:
        """Finds decoded examples in the cache."""
        if self.cache is None:
            return None
        return example_cache.filled(self.cache, self.records, self.parse, self.decode)


def _any_rows(spec: Any) -> Any:
    if isinstance(spec, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec(
            [None, *spec.shape[1:]], spec.dtype, spec.ragged_rank, spec.row_splits_dtype
        )
    return type(spec)([None, *spec.shape[1:]], spec.dtype)
