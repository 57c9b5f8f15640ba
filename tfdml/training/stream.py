"""From data of global batches to the slices that one task's replicas train on.

A slice is (data, rows, global_rows): `rows` examples of the `global_rows` in the batch, int32 scalars. The
batch is cut into n contiguous slices whose sizes differ by one at most; a replica for which no example is
left gets a copy of the batch's first example and rows = 0. The stream never ends: a pass over the data is
followed by slices with global_rows = 0, so a loop inside a graph sees the end without a collective, and on
all tasks at the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.order import Slice
from tfdml.data.source import Source
from tfdml.errors import DataError

Data: TypeAlias = tf.data.Dataset | Callable[[tf.distribute.InputContext], tf.data.Dataset] | Source

BEGINNING = Position(0, 0, 0)

# `global_rows` of a slice whose task does not know the rows of the others.
UNKNOWN_ROWS = -1


@dataclass(frozen=True)
class Stream:
    """A distributed, endless data set of slices.

    Attributes:
        open: from a position to what to iterate over for (data, rows, global_rows). A Source begins there; another
            data set begins anew and reads past the steps of the epoch.
        begins_anywhere: whether `open` finds the very batches of the position, at no cost (a Source).
        has_state: whether the state of its iterator says where it stands. TensorFlow restores a `concatenate` wrongly
            (tests/upstream/test_iterator_state.py), which marks the ends of passes where no number of batches does.
        endless: one iterator makes pass after pass; else it makes one, and then only says that it has ended.
        num_batches: batches in one pass, or None when only reading tells.
        constant_rows: examples in every batch where that never changes and no end shows: then the stream
            yields data alone, without row counts. Else None.
        equal_slices: every replica gets the same number of examples in every step.
        global_rows_known: slices carry the rows of the whole batch (they do unless `data` was a function).
        element_spec: of `data`, with an unknown number of rows.
    """

    open: Callable[[Position], Any]
    begins_anywhere: bool
    has_state: bool
    endless: bool
    num_batches: int | None
    constant_rows: int | None
    equal_slices: bool
    global_rows_known: bool
    element_spec: Any


def make_stream(
    data: Data, strategy: tf.distribute.Strategy, *, endless: bool = False, marks_end: bool = True
) -> Stream:
    """Slice `data` for the replicas of this task.

    Args:
        data: a `tf.data.Dataset` of global batches, the same on every task; a function of the input
            context that returns this task's data set, batched to the size of one replica; or a `Source`.
        strategy: whose replicas share each batch.
        endless: start again after the last batch: one iterator serves all epochs, and reads ahead into the next.
        marks_end: whether the end of each pass shows; not needed where the caller counts steps.

    Raises:
        DataError: `data` is something else, or its elements are not batches.
    """
    if isinstance(data, Source):
        return _stream_from_source(data, strategy, endless)
    if callable(data) and not isinstance(data, tf.data.Dataset):
        return _stream_from_function(data, strategy, endless and not marks_end)
    if not isinstance(data, tf.data.Dataset):
        raise DataError(
            "data must be a tf.data.Dataset of global batches, a function of the input context or a "
            f"tfdml.data.Source, got {type(data).__name__}. "
            "For arrays: tf.data.Dataset.from_tensor_slices((x, y)).batch(global_batch_size)."
        )
    check_batched(data.element_spec)
    num_replicas = strategy.num_replicas_in_sync
    cardinality = int(data.cardinality())
    if cardinality == 0:
        raise DataError("the data set has no batch. Check its source, and any filter or take.")
    rows = static_rows(data.element_spec)
    equal = rows is not None and rows % num_replicas == 0
    counted = cardinality > 0 or not marks_end
    if endless and counted:
        data = data.repeat()

    bare = equal and endless and counted

    def cut(replica: Any, batch: tuple[Any, ...]) -> Any:
        part = _slice(batch[0] if len(batch) == 1 else batch, replica, num_replicas, equal)
        return part[0] if bare else part

    def local_slices(context: tf.distribute.InputContext, skip: int) -> tf.data.Dataset:
        per_task = num_replicas // context.num_input_pipelines
        first = context.input_pipeline_id * per_task

        if bare and num_replicas == 1:
            slices = data
        elif per_task == 1:
            slices = data.map(lambda *batch: cut(first, batch))
        else:
            replicas = tf.data.Dataset.range(first, first + per_task)
            slices = data.flat_map(lambda *batch: replicas.map(lambda replica: cut(replica, batch)))
        if not endless:
            slices = slices.concatenate(_end_of(slices.element_spec))
        elif not counted:
            slices = slices.concatenate(_end_of(slices.element_spec).take(per_task)).repeat()
        slices = _past(slices, skip * per_task)
        options = tf.data.Options()
        options.deterministic = True
        slices = slices.with_options(options)
        return slices.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    return Stream(
        open=_reading_past(strategy, local_slices),
        begins_anywhere=False,
        has_state=endless and counted,
        endless=endless,
        num_batches=cardinality if cardinality > 0 else None,
        constant_rows=rows if bare else None,
        equal_slices=equal,
        global_rows_known=True,
        element_spec=data.element_spec,
    )


def _stream_from_function(
    function: Callable[[tf.distribute.InputContext], tf.data.Dataset],
    strategy: tf.distribute.Strategy,
    repeat: bool,
) -> Stream:
    specs: list[Any] = []

    def local_slices(context: tf.distribute.InputContext, skip: int) -> tf.data.Dataset:
        data = function(context)
        if not isinstance(data, tf.data.Dataset):
            raise DataError(
                f"the data function must return a tf.data.Dataset, got {type(data).__name__}. "
                "Batch it with input_context.get_per_replica_batch_size(global_batch_size)."
            )
        check_batched(data.element_spec)
        specs.append(data.element_spec)

        def whole(*batch: Any) -> Any:
            batch = batch[0] if len(batch) == 1 else batch
            rows = rows_in(batch)
            return batch, rows, tf.constant(UNKNOWN_ROWS)

        slices = data.map(whole)
        if repeat:
            slices = slices.repeat()
        else:
            # Other tasks may have more batches: until they end, this one adds a real example with weight 0.
            filler = data.take(1).map(
                lambda *batch: (
                    _rows_of(batch[0] if len(batch) == 1 else batch, 0, 1),
                    tf.constant(0),
                    tf.constant(UNKNOWN_ROWS),
                )
            )
            slices = slices.concatenate(filler.cache().repeat())
        slices = _past(slices, skip * strategy.num_replicas_in_sync // context.num_input_pipelines)
        return slices.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    open_at = _reading_past(strategy, local_slices)
    open_at(BEGINNING)  # for the element_spec
    return Stream(
        open=open_at,
        begins_anywhere=False,
        has_state=repeat,
        endless=repeat,
        num_batches=None,
        constant_rows=None,
        equal_slices=False,
        global_rows_known=False,
        element_spec=specs[0],
    )


def _stream_from_source(source: Source, strategy: tf.distribute.Strategy, endless: bool) -> Stream:
    num_replicas = strategy.num_replicas_in_sync
    order, steps = source.order, source.steps_per_epoch
    always_full = order.records_per_epoch % order.global_batch_size == 0
    equal = always_full and order.global_batch_size % num_replicas == 0
    bare = equal and endless

    def open_at(start: Position) -> Any:
        def local_slices(context: tf.distribute.InputContext) -> tf.data.Dataset:
            per_task = num_replicas // context.num_input_pipelines
            part = Slice(context.input_pipeline_id * per_task, per_task, num_replicas)
            if bare and per_task == 1:
                return source.dataset(start, part)
            slices = source.slices(start, part)
            if not endless:
                slices = slices.take(steps)
            if per_task > 1:
                slices = slices.flat_map(lambda *of_task: _for_replicas(part, *of_task))
            if bare:
                return slices.map(lambda batch, rows, global_rows: batch)
            if not endless:
                slices = slices.concatenate(_end_of(slices.element_spec))
            return slices.apply(
                tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
            )

        return _distribute(strategy, local_slices)

    return Stream(
        open=open_at,
        begins_anywhere=True,
        has_state=False,
        endless=endless,
        num_batches=steps,
        constant_rows=order.global_batch_size if bare else None,
        equal_slices=equal,
        global_rows_known=True,
        element_spec=source.element_spec,
    )


def _for_replicas(
    part: Slice, batch: Any, rows: tf.Tensor, global_rows: tf.Tensor
) -> tf.data.Dataset:
    """The slice of a task, cut into those of its replicas."""
    begin, _ = _cut(part.first_replica, global_rows, part.num_replicas)

    def of_replica(replica: tf.Tensor) -> Any:
        start, size = _cut(replica, global_rows, part.num_replicas)
        start = tf.where(size > 0, start - begin, 0)
        return _rows_of(batch, start, tf.maximum(size, 1)), size, global_rows

    end = part.first_replica + part.num_local_replicas
    return tf.data.Dataset.range(part.first_replica, end, output_type=tf.int32).map(of_replica)


def _reading_past(
    strategy: tf.distribute.Strategy,
    local_slices: Callable[[tf.distribute.InputContext, int], tf.data.Dataset],
) -> Callable[[Position], Any]:
    """`Stream.open` of a data set that can begin at its start only."""
    opened: dict[int, Any] = {}

    def open_at(start: Position) -> Any:
        steps = start.step_in_epoch
        if steps not in opened:
            opened[steps] = _distribute(strategy, lambda context: local_slices(context, steps))
        return opened[steps]

    return open_at


def _past(slices: tf.data.Dataset, num_elements: int) -> tf.data.Dataset:
    return slices.skip(num_elements) if num_elements else slices


def static_rows(element_spec: Any) -> int | None:
    """The first dimension of the batches when it is always the same, else None."""
    sizes = {spec.shape[0] for spec in tf.nest.flatten(element_spec) if hasattr(spec, "shape")}
    return sizes.pop() if len(sizes) == 1 else None


def _distribute(
    strategy: tf.distribute.Strategy,
    function: Callable[[tf.distribute.InputContext], tf.data.Dataset],
) -> Any:
    """What to iterate over for one element a local replica.

    A task with one CPU replica iterates over the data set itself: the distributed iterator's copy to the device
    would be a copy from host memory to host memory, by one more thread.
    """
    built: list[tf.data.Dataset] = []

    def build(context: tf.distribute.InputContext) -> tf.data.Dataset:
        built.append(function(context).prefetch(tf.data.AUTOTUNE))
        return built[-1]

    distributed = strategy.distribute_datasets_from_function(build)
    devices = strategy.extended.worker_devices
    if len(devices) == 1 and "CPU" in devices[0].upper():
        return built[0]
    return distributed


def check_batched(element_spec: Any) -> None:
    """Raise a DataError where elements have no leading dimension of examples."""
    for spec in tf.nest.flatten(element_spec):
        shape = getattr(spec, "shape", None)
        if shape is not None and shape.rank == 0:
            raise DataError(
                f"the data set must yield batches, got scalar elements ({spec}). "
                "Call .batch(global_batch_size) on it."
            )


def _is_leafless(value: Any) -> bool:
    return value is None


def rows_in(batch: Any) -> tf.Tensor:
    """How many examples a batch has, int32."""
    first = next(leaf for leaf in tf.nest.flatten(batch) if not _is_leafless(leaf))
    if isinstance(first, tf.SparseTensor):
        return tf.cast(first.dense_shape[0], tf.int32)
    if isinstance(first, tf.RaggedTensor):
        return tf.cast(first.nrows(), tf.int32)
    return tf.shape(first)[0]


def _rows_of(batch: Any, start: Any, size: Any) -> Any:
    """Rows [start, start + size) of every tensor in `batch`."""

    def cut(leaf: Any) -> Any:
        if _is_leafless(leaf):
            return leaf
        if isinstance(leaf, tf.SparseTensor):
            rank = tf.shape(leaf.dense_shape)[0]
            begin = tf.one_hot(0, rank, on_value=tf.cast(start, tf.int64), dtype=tf.int64)
            rest = leaf.dense_shape[1:]
            return tf.sparse.slice(
                leaf, begin, tf.concat([[tf.cast(size, tf.int64)], rest], axis=0)
            )
        part = leaf[start : start + size]
        if isinstance(size, int) and isinstance(part, tf.Tensor):
            part.set_shape([size, *part.shape[1:]])
        return part

    return tf.nest.map_structure(cut, batch)


def _slice(batch: Any, replica: Any, num_replicas: int, equal: bool) -> Any:
    if equal:
        global_rows = static_rows_of(batch)
        size = global_rows // num_replicas
        part = batch if num_replicas == 1 else _rows_of(batch, replica * size, size)
        return part, tf.constant(size), tf.constant(global_rows)
    global_rows = rows_in(batch)
    if num_replicas == 1:
        return batch, global_rows, global_rows
    start, rows = _cut(replica, global_rows, num_replicas)
    # An empty slice holds the first example instead, with rows = 0: a batch of no rows breaks layers and
    # makes means NaN.
    start = tf.where(rows > 0, start, 0)
    return _rows_of(batch, start, tf.maximum(rows, 1)), rows, global_rows


def _cut(replica: Any, global_rows: tf.Tensor, num_replicas: int) -> tuple[tf.Tensor, tf.Tensor]:
    """(start, size), int32, of the rows of one replica."""
    replica = tf.cast(replica, tf.int32)
    smaller, larger_slices = global_rows // num_replicas, global_rows % num_replicas
    start = replica * smaller + tf.minimum(replica, larger_slices)
    return start, smaller + tf.cast(replica < larger_slices, tf.int32)


def static_rows_of(batch: Any) -> int:
    """The static first dimension of a batch of tensors."""
    return next(leaf.shape[0] for leaf in tf.nest.flatten(batch) if not _is_leafless(leaf))


def _end_of(element_spec: Any) -> tf.data.Dataset:
    """Endless slices with global_rows = 0, in the shapes of `element_spec`."""

    def blank(spec: Any) -> Any:
        if isinstance(spec, tf.RaggedTensorSpec):
            return tf.RaggedTensor.from_row_splits(
                tf.zeros([0, *[d or 0 for d in spec.shape[2:]]], spec.dtype),
                tf.zeros([2], spec.row_splits_dtype),
            )
        if isinstance(spec, tf.SparseTensorSpec):
            return tf.sparse.from_dense(tf.zeros([d or 1 for d in spec.shape], spec.dtype))
        if isinstance(spec, tf.TensorSpec):
            shape = [d or 1 for d in spec.shape]
            return tf.fill(shape, "") if spec.dtype == tf.string else tf.zeros(shape, spec.dtype)
        return None

    def end(_: Any) -> Any:
        return tf.nest.map_structure(blank, element_spec)

    return tf.data.Dataset.range(1).repeat().map(end)
