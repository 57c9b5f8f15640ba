"""A table for training and testing: the embedded ones, CSV or Parquet."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.conversion.splits import TRAIN
from tfdml.data.format.dataset_manifest import FILE_NAME as MANIFEST
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.mixture import Mixture
from tfdml.data.order import AnyOrder, Order, Slice
from tfdml.data.origin import Origin
from tfdml.data.records import RecordSet
from tfdml.data.source import Source
from tfdml.data.tables import machines
from tfdml.data.tables.facts import Facts
from tfdml.data.tables.prepare import Job, prepare
from tfdml.data.tables.schema import TableSchema
from tfdml.data.tables.settings import TableSettings
from tfdml.data.tables.windows import TEST

Batch = dict[str, tf.Tensor]
_READ_ROWS = 8192


@dataclass(frozen=True, eq=False)
class TableDataset:
    """Rows of a table, or windows over them, in shards.

    A batch is a dict of tensors by column, [batch] each, or [batch, window] with windows:
        numeric columns: float32, NaN where a value is missing.
        categorical columns: string, "" where a value is missing.
        the target: int64 class numbers, or float32; [batch].
        with windows, the machine and the time of the last row: string and float64 [batch].

    Attributes:
        dataset: what it was opened as.
        train_dir, test_dir: directories of shards; None where there are no such rows.
    """

    dataset: str
    schema: TableSchema
    train_dir: Path | None
    test_dir: Path | None
    has_target: bool = True

    @functools.cached_property
    def facts(self) -> Facts:
        """Of the training split.

        Raises:
            DataError: a numeric column has no value in it.
        """
        assert self.train_dir is not None
        return Facts.of_shards(self.train_dir, self.schema)

    @property
    def origins(self) -> list[Origin]:
        """Where the data come from, for the record of a run."""
        directories = dict.fromkeys(d for d in (self.train_dir, self.test_dir) if d)
        return [
            Origin.of_manifest(DatasetManifest.from_bytes((d / MANIFEST).read_bytes()), d)
            for d in directories
        ]

    def training(self, global_batch_size: int, *, seed: int, balanced: bool = False) -> Source:
        """Batches of the training split, each epoch in another order, which depends on the seed alone.

        Args:
            balanced: draw each class as often as the others, however many rows it has.
        """
        assert self.train_dir is not None
        records = RecordSet.open(self.train_dir, TRAIN)
        order: AnyOrder
        if balanced:
            labels = records.labels()
            assert labels is not None
            order = Mixture.class_balanced(labels, global_batch_size, seed=seed)
        else:
            order = Order(records.num_records, global_batch_size, seed=seed)
        return Source(records, order, parse=self._parse)

    def evaluation(self, global_batch_size: int, split: str = TEST) -> Source:
        """Batches of a split, in a fixed order: that of the file where the whole of it is for testing."""
        directory = self.test_dir if split == TEST else self.train_dir
        assert directory is not None
        records = RecordSet.open(directory, split)
        order = Order(records.num_records, global_batch_size, shuffle="none")
        return Source(records, order, parse=self._parse)

    def arrays(self, split: str = TEST) -> dict[str, np.ndarray]:
        """All rows of a split, in the order of `evaluation`, by column."""
        source = self.evaluation(_READ_ROWS, split)
        batches = list(source.dataset(Position(0, 0, 0), Slice()).take(source.steps_per_epoch))
        return {n: np.concatenate([batch[n].numpy() for batch in batches]) for n in batches[0]}

    def true_risk(self, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
        """How near to failing each machine of `arrays` truly was, [n]; None where nobody knows."""
        if self.dataset != machines.NAME or not self.schema.machine:
            return None
        return machines.Machines().wear_at(arrays[self.schema.machine], arrays[self.schema.time])

    def _parse(self, records: tf.Tensor) -> Batch:
        shape = [self.schema.window] if self.schema.window else []
        features: dict[str, Any] = {
            column.name: tf.io.FixedLenFeature(
                shape, tf.float32 if column.kind == "numeric" else tf.string
            )
            for column in self.schema.columns
        }
        if self.has_target:
            dtype = tf.float32 if self.schema.task == "regression" else tf.int64
            features[self.schema.target] = tf.io.FixedLenFeature([], dtype)
        machine, time = self.schema.machine, self.schema.time
        if machine:
            features |= {name: tf.io.FixedLenFeature([], tf.string) for name in (machine, time)}
        batch: Any = tf.io.parse_example(records, features)
        if machine:
            batch[time] = tf.io.decode_raw(batch[time], tf.float64)[:, 0]
        return batch


def open_table(
    dataset: str,
    settings: TableSettings,
    *,
    data_dir: str | Path,
    test_dataset: str | None = None,
) -> TableDataset:
    """Open a table for training, and convert it first where that is needed.

    Args:
        dataset: `breast_cancer`, `machines`, or CSV or Parquet files: a name, a pattern, a directory or a URL.
        data_dir: where shards are kept.
        test_dataset: other files, whose rows are all for testing; None takes a part of `dataset`.

    Raises:
        DataError: files are missing, or a row cannot be used.
        ConfigError: the settings do not fit the table.
    """
    data_dir = Path(data_dir).expanduser()
    directory, schema = prepare(Job(dataset, settings, splits=test_dataset is None), data_dir)
    if test_dataset is None:
        return TableDataset(dataset, schema, directory, directory)
    test_directory, _ = prepare(Job(test_dataset, settings, schema, splits=False), data_dir)
    return TableDataset(dataset, schema, directory, test_directory)


def open_table_like(
    schema: TableSchema,
    dataset: str,
    settings: TableSettings,
    *,
    data_dir: str | Path,
    splits: bool,
    has_target: bool,
) -> TableDataset:
    """Open a table for a model that is trained, as the split `test`.

    Args:
        schema: of the model.
        splits: take the part of the rows that training left for testing; else all of them, in their order.
        has_target: whether the target is known, and needed.

    Raises:
        DataError: the columns are not those of the schema any more; one sentence that names them.
    """
    job = Job(dataset, settings, schema, splits=splits, has_target=has_target)
    directory, _ = prepare(job, Path(data_dir).expanduser())
    return TableDataset(dataset, schema, None, directory, has_target)
