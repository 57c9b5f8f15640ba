"""Where the workers of a parameter-server job get their batches from.

A step is a batch, and one worker trains on it. A feed makes the graph in which a worker reads a number of batches,
and the arguments that say which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.source import Source
from tfdml.errors import DataError
from tfdml.training.stream import Data, check_batched, rows_in

# One batch and the examples in it.
Batch = tuple[Any, tf.Tensor]


class Feed(Protocol):
    """Batches of one data set.

    Attributes:
        num_batches: in one pass; None where only reading tells.
        element_spec: of a batch, with an unknown number of rows.
        most_steps: that one closure can take.
    """

    num_batches: int | None
    element_spec: Any
    most_steps: int

    def arguments(self, position: Position, steps: int) -> tuple[Any, ...] | None:
        """What the next closure is given besides its position, of `steps` steps; None where the pass has ended."""

    def new_pass(self) -> None:
        """The next arguments are those of another pass."""

    def read(self, steps: tf.Tensor, start: Position, *arguments: Any) -> Callable[[], Batch]:
        """In the graph of a closure of `steps` steps from `start` (of tensors): returns the next batch, each call."""


def make_feed(data: Data, coordinator: Any, *, repeats: bool) -> Feed:
    """The feed of a Source, of a data set of global batches, or of a function of the input context.

    Args:
        repeats: one pass follows the other without end, because the caller counts steps.

    Raises:
        DataError: `data` is something else, or its elements are not batches.
    """
    if isinstance(data, Source):
        return _FromSource(data)
    if isinstance(data, tf.data.Dataset):
        return _FromDataset(data, repeats)
    if callable(data):
        return _FromFunction(data, coordinator, repeats)
    raise DataError(
        f"data must be a tfdml.data.Source, a tf.data.Dataset or a function of the input context, got "
        f"{type(data).__name__}. For arrays: tf.data.Dataset.from_tensor_slices((x, y)).batch(global_batch_size)."
    )


class _FromSource:
    """Workers read their records themselves, by number: a closure that is tried again reads the same ones."""

    most_steps = 2**30

    def __init__(self, source: Source):
        self._source = source
        self.num_batches: int | None = source.steps_per_epoch
        self.element_spec = source.element_spec

    def arguments(self, position: Position, steps: int) -> tuple[Any, ...]:
        return ()

    def new_pass(self) -> None:
        pass

    def read(self, steps: tf.Tensor, start: Position, *arguments: Any) -> Callable[[], Batch]:
        iterator = iter(self._source.steps(start, tf.cast(steps, tf.int64)))

        def batch() -> Batch:
            data, rows, _ = next(iterator)
            return data, rows

        return batch


class _FromDataset:
    """The coordinator reads, and sends batches along: exact, also when tried again, and all data goes through it."""

    most_steps = 1

    def __init__(self, data: tf.data.Dataset, repeats: bool):
        check_batched(data.element_spec)
        cardinality = int(data.cardinality())
        if cardinality == 0:
            raise DataError("the data set has no batch. Check its source, and any filter or take.")
        self._data = data.repeat() if repeats else data
        self._repeats = repeats
        self._iterator: Iterator[Any] | None = None
        self.num_batches = cardinality if cardinality > 0 else None
        self.element_spec = data.element_spec

    def arguments(self, position: Position, steps: int) -> tuple[Any, ...] | None:
        if self._iterator is None:
            past = position.step_in_epoch
            self._iterator = iter(self._data.skip(past) if past else self._data)
        batch = next(self._iterator, None)
        return None if batch is None else (batch,)

    def new_pass(self) -> None:
        if not self._repeats:
            self._iterator = None

    def read(self, steps: tf.Tensor, start: Position, *arguments: Any) -> Callable[[], Batch]:
        (batch,) = arguments
        return lambda: (batch, rows_in(batch))


class _FromFunction:
    """Every worker reads its own data set, at its own speed: which examples an epoch has is not exact."""

    most_steps = 2**30
    num_batches: int | None = None

    def __init__(self, function: Callable[[Any], tf.data.Dataset], coordinator: Any, repeats: bool):
        if not repeats:
            raise DataError(
                "a data function on parameter servers has no end that all workers share. Give `steps_per_epoch`, and "
                "`validation_steps`; or use a tfdml.data.Source, which counts every example once."
            )

        def make(context: Any) -> tf.data.Dataset:
            data = function(context)
            check_batched(data.element_spec)
            return data.repeat()

        datasets = coordinator.create_per_worker_dataset(
            lambda: coordinator.strategy.distribute_datasets_from_function(make)
        )
        self._iterator = iter(datasets)
        self.element_spec = datasets.element_spec

    def arguments(self, position: Position, steps: int) -> tuple[Any, ...]:
        return (self._iterator,)

    def new_pass(self) -> None:
        pass

    def read(self, steps: tf.Tensor, start: Position, *arguments: Any) -> Callable[[], Batch]:
        (iterator,) = arguments

        def batch() -> Batch:
            data = next(iterator)
            return data, rows_in(data)

        return batch
