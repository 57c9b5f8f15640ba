"""Interactions for training and testing: the embedded ones, MovieLens files, or TFDS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.interactions.low_rank import LowRank
from tfdml.data.interactions.numbered import TEST, TRAIN, Facts
from tfdml.data.interactions.prepare import prepare
from tfdml.data.interactions.tables import EMBEDDED_LICENCE, Embedded
from tfdml.data.order import Order, Slice
from tfdml.data.origin import Origin
from tfdml.data.records import RecordSet
from tfdml.data.source import Source

Batch = dict[str, tf.Tensor]
_READ_ROWS = 8192

_STORED = {
    "user": tf.int64,
    "item": tf.int64,
    "rating": tf.float32,
    "timestamp": tf.int64,
}


@dataclass(frozen=True, eq=False)
class InteractionDataset:
    """Users and items, numbered from 0, and their interactions in the splits train and test.

    A batch is a dict of tensors [batch]:
        user, item: int64 numbers.
        rating: float32.
        time: float32, 0 for the first interaction of the data set and 1 for the last.
        user_count, item_count: float32, interactions of the user and of the item in the training split.

    Attributes:
        facts: their numbers and ids.
        origin: where they come from, for the record of a run.
        truth: what the interactions were drawn from, where that is known.
    """

    name: str
    directory: Path
    facts: Facts = field(repr=False)
    origin: Origin = field(repr=False)
    truth: LowRank | None = None

    @property
    def num_users(self) -> int:
        return len(self.facts.user_ids)

    @property
    def num_items(self) -> int:
        return len(self.facts.item_ids)

    def training(self, global_batch_size: int, *, seed: int) -> Source:
        """Batches of the training split, each epoch in another order, which depends on the seed alone."""
        records = RecordSet.open(self.directory, TRAIN)
        order = Order(records.num_records, global_batch_size, seed=seed)
        return Source(records, order, parse=self._parse)

    def evaluation(self, global_batch_size: int) -> Source:
        """Batches of the test split, in a fixed order."""
        return self._in_order(TEST, global_batch_size)

    def arrays(self, split: str) -> dict[str, np.ndarray]:
        """All interactions of a split, in a fixed order: the columns user, item and rating."""
        source = self._in_order(split, _READ_ROWS)
        batches = source.dataset(Position(0, 0, 0), Slice()).take(source.steps_per_epoch)
        names = ("user", "item", "rating")
        parts = [[batch[name].numpy() for name in names] for batch in batches]
        return {
            n: np.concatenate(each) for n, each in zip(names, zip(*parts, strict=True), strict=True)
        }

    def true_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray | None:
        """What is to be expected of these numbers, [n] each: no model can do better. None where nobody knows."""
        if self.truth is None:
            return None
        return self.truth.ratings(self.facts.user_ids[users], self.facts.item_ids[items])

    def true_preferences(self) -> np.ndarray | None:
        """[users, items]: the larger, the sooner a user chooses an item. None where nobody knows."""
        if self.truth is None:
            return None
        return self.truth.choice_scores()[np.ix_(self.facts.user_ids, self.facts.item_ids)]

    def _in_order(self, split: str, global_batch_size: int) -> Source:
        records = RecordSet.open(self.directory, split)
        order = Order(records.num_records, global_batch_size, shuffle="none")
        return Source(records, order, parse=self._parse)

    def _parse(self, records: tf.Tensor) -> Batch:
        features = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in _STORED.items()}
        parsed: Any = tf.io.parse_example(records, features)
        facts = self.facts
        span = max(facts.last_time - facts.first_time, 1)
        time = tf.cast(parsed.pop("timestamp") - facts.first_time, tf.float64) / span
        return {
            **parsed,
            "time": tf.cast(time, tf.float32),
            "user_count": tf.gather(facts.user_counts.astype(np.float32), parsed["user"]),
            "item_count": tf.gather(facts.item_counts.astype(np.float32), parsed["item"]),
        }


def open_interactions(
    dataset: str, *, data_dir: str | Path, test_fraction: float
) -> InteractionDataset:
    """Open a data set, and convert or download it first where that is needed.

    Args:
        dataset: `embedded`, `tfds:NAME`, a file of MovieLens (u.data or ratings.csv, also a URL) or its directory.
        data_dir: where shards, and what TFDS downloads, are kept.
        test_fraction: the part of all interactions that is for testing, by a hash of file and row.

    Raises:
        DataError: for data that is missing, or of which a row cannot be used.
    """
    data_dir = Path(data_dir).expanduser()
    directory, facts, table = prepare(dataset, data_dir, test_fraction)
    truth = table.input.truth if isinstance(table.input, Embedded) else None
    manifest = DatasetManifest.read(directory)
    licence = EMBEDDED_LICENCE if truth is not None else ""
    origin = Origin.of_manifest(manifest, dataset, licence=licence)
    return InteractionDataset(dataset, directory, facts, origin, truth)
