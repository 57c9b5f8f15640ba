"""The tf.data pipeline of a `Source`: record ids, reading, functions of one example, batches.

Every element is computed from its own (epoch, step), so the pipeline can begin anywhere. In the last, smaller batch
of an epoch the slice's first record is repeated up to the usual size, and cut off in the end: all steps then run
through one stream without a seam between epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data import in_graph, record_reading
from tfdml.data.augment import seeds
from tfdml.data.order import AnyOrder, Slice

if TYPE_CHECKING:
    from tfdml.data.source import Source

# A step that is to be read: "ids" of its records, and what else is asked for.
Step = dict[str, tf.Tensor]
LookUp = Callable[[tf.Tensor], Any]


@tf.autograph.experimental.do_not_convert
def batches(
    source: Source,
    look_up: LookUp | None,
    start: Position,
    part: Slice,
    *,
    with_counts: bool,
    num_steps: Any = None,
) -> tf.data.Dataset:
    """Batches of the slice, from `start` on; with counts (batch, rows, global_rows), see `Source.slices`.

    Args:
        num_steps: how many are read; None is no end.
        look_up: ids int64 [n] -> decoded examples, where they are cached.
    """
    rows = _Rows(source.order, part)
    transform = _transform(source, cached=look_up is not None)
    fetch = _fetch(source, look_up)
    by_example = transform is not None or source.pair is not None or source.ragged
    steps = _steps(source, rows, start, with_visits=by_example)
    if num_steps is not None:
        steps = steps.take(num_steps)

    def finish(batch: Any, counts: tuple[tf.Tensor, tf.Tensor]) -> Any:
        if rows.vary:
            kept = tf.maximum(counts[0], 1)
            batch = tf.nest.map_structure(lambda leaf: leaf[:kept], batch)
        if source.batching is not None:
            batch = source.batching(batch)
        return (batch, *counts) if with_counts else batch

    if by_example:
        examples = _examples(source, steps, fetch, transform)
        stack = examples.ragged_batch if source.ragged else examples.batch
        stacked = stack(rows.usual, drop_remainder=True)
        counts = _each_step(source.order, start, lambda epoch, tables: rows.counts)
        result = _parallel(tf.data.Dataset.zip(stacked, counts), finish)
    else:
        result = _parallel(steps, lambda step: finish(fetch(step), rows.counts(step["step"])))
    options = tf.data.Options()
    options.deterministic = True
    return result.with_options(options).prefetch(tf.data.AUTOTUNE)


class _Rows:
    """Which rows of a global batch the slice has.

    Attributes:
        usual: how many are read in every step, at least one.
        vary: whether the last batch of an epoch is smaller.
    """

    def __init__(self, order: AnyOrder, part: Slice):
        self._order, self._part = order, part
        self._start, self._size = part.rows(order.global_batch_size)
        self.usual = max(self._size, 1)
        self.vary = order.records_per_epoch % order.global_batch_size != 0

    def read(self, step: tf.Tensor) -> tf.Tensor:
        """int64 [usual]: the rows to read. Where too few are left the first again, where none the batch's first."""
        if not self.vary:
            return tf.constant(np.arange(self.usual) + (self._start if self._size else 0))
        start, size = in_graph.rows_of(self._part, self.global_rows(step))
        row = tf.range(self.usual, dtype=tf.int64)
        return tf.where(size > 0, start, 0) + tf.where(row < size, row, 0)

    def global_rows(self, step: tf.Tensor) -> tf.Tensor:
        size = self._order.global_batch_size
        if not self.vary:
            return tf.constant(size, tf.int64)
        return tf.minimum(tf.constant(size, tf.int64), self._order.records_per_epoch - step * size)

    def counts(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(rows that count, rows of the global batch), int32."""
        if not self.vary:
            return tf.constant(self._size), tf.constant(self._order.global_batch_size)
        global_rows = self.global_rows(step)
        _, size = in_graph.rows_of(self._part, global_rows)
        return tf.cast(size, tf.int32), tf.cast(global_rows, tf.int32)


def _each_step(
    order: AnyOrder,
    start: Position,
    of_epoch: Callable[[tf.Tensor, Any], Callable[[tf.Tensor], Any]],
) -> tf.data.Dataset:
    """One element a step, from `start` on: what the function that `of_epoch(epoch, tables)` returns makes of it."""

    def steps(epoch: tf.Tensor) -> tf.data.Dataset:
        function = of_epoch(epoch, in_graph.tables_of(order, epoch))
        first = tf.where(epoch == start.epoch, tf.cast(start.step_in_epoch, tf.int64), 0)
        return tf.data.Dataset.range(first, order.steps_per_epoch).map(function)

    return tf.data.Dataset.range(start.epoch, tf.int64.max).flat_map(steps)


def _steps(source: Source, rows: _Rows, start: Position, *, with_visits: bool) -> tf.data.Dataset:
    """What to read for each step, always `rows.usual` records; with `pair` each is followed by its partner."""
    order, pair = source.order, source.pair

    def of_epoch(epoch: tf.Tensor, tables: Any) -> Callable[[tf.Tensor], Step]:
        def of_step(step: tf.Tensor) -> Step:
            _announce(source, tables, start, epoch, step)
            row = rows.read(step)
            if pair is not None:
                seed = seeds.step_seed(order.seed, epoch * order.steps_per_epoch + step)
                global_rows = tf.cast(rows.global_rows(step), tf.int32)
                partner = pair.partner_rows(tf.cast(row, tf.int32), global_rows, seed)
                row = tf.reshape(tf.stack([row, tf.cast(partner, tf.int64)], axis=1), [-1])
            places = step * order.global_batch_size + row
            ids, visits = in_graph.records_at(order, tables, epoch, places)
            found = {"step": step, "ids": ids}
            if with_visits:
                found["visits"] = visits
            if source.records.staged is not None:
                found["epoch"] = epoch
            return found

        return of_step

    return _each_step(order, start, of_epoch)


def _announce(
    source: Source, tables: Any, start: Position, epoch: tf.Tensor, step: tf.Tensor
) -> None:
    """At the first step that reads from a window of shards, have them read from the disk in one go."""
    size = source.order.global_batch_size
    is_first = (epoch == start.epoch) & (step == start.step_in_epoch)
    before = tf.where(is_first, tf.constant(-1, tf.int64), (step - 1) * size)
    to_come = in_graph.shards_to_come(source.order, tables, (before, step * size))
    if to_come is not None:
        is_new, shards = to_come

        def announce() -> tf.Tensor:
            record_reading.announce(source.records, shards)
            return tf.constant(0)

        tf.cond(is_new, announce, lambda: tf.constant(0))


def _fetch(source: Source, look_up: LookUp | None) -> Callable[[Step], Any]:
    records = source.records.in_order(source.order)

    def fetch(step: Step) -> Any:
        if look_up is not None:
            return look_up(step["ids"])
        serialised = records.read(step["ids"], step.get("epoch"), step["step"])
        return serialised if source.parse is None else source.parse(serialised)

    return fetch


def _transform(source: Source, *, cached: bool) -> Callable[[Any, tf.Tensor], Any] | None:
    """What is left to do to one example: (example, seed) -> example."""
    decode, augment = None if cached else source.decode, source.augment
    if decode is None:
        return augment
    if augment is None:
        return lambda example, seed: decode(example)
    return lambda example, seed: augment(decode(example), seed)


def _examples(
    source: Source,
    steps: tf.data.Dataset,
    fetch: Callable[[Step], Any],
    transform: Callable[[Any, tf.Tensor], Any] | None,
) -> tf.data.Dataset:
    """One finished example after the other."""
    seed, pair = source.order.seed, source.pair

    def fetch_with_seeds(step: Step) -> tuple[Any, tf.Tensor]:
        return fetch(step), seeds.record_seed(seed, step["visits"], step["ids"])

    examples = _parallel(steps, fetch_with_seeds).unbatch()
    if transform is not None and pair is None:
        return _parallel(examples, transform)
    if transform is not None:
        examples = _parallel(examples, lambda example, seed: (transform(example, seed), seed))
    if pair is None:
        return examples.map(lambda example, seed: example)

    def mixed(both: Any, seeds_of_both: tf.Tensor) -> Any:
        example, partner = (tf.nest.map_structure(lambda x, i=i: x[i], both) for i in (0, 1))
        return pair.mix(example, partner, seeds_of_both[0])

    return _parallel(examples.batch(2, drop_remainder=True), mixed)


def _parallel(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
