"""What input.py compares: the records, and the ways to read them, each as a pipeline of parsed batches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.format.example import Encoder
from tfdml.data.format.features import Feature
from tfdml.data.format.record_file import write_records
from tfdml.data.order import Order, Slice
from tfdml.data.records import RecordSet
from tfdml.data.source import Source

_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}
_SCHEMA = {
    "image": Feature("image", shape=(None, None, 3), encoding="jpeg"),
    "label": Feature("label", class_names=("a", "b")),
}
_OVERHEAD = 60  # bytes of an Example beside the image


@dataclass(frozen=True)
class Records:
    """Shards of equal records."""

    directory: Path
    record_bytes: int
    num_records: int
    num_shards: int = 8

    @property
    def paths(self) -> list[str]:
        name = "records-train.tfrecord-{:05d}-of-{:05d}"
        shards = range(self.num_shards)
        return [str(self.directory / name.format(i, self.num_shards)) for i in shards]

    def write(self) -> None:
        """Nothing where it is written already."""
        if self.directory.exists():
            return
        self.directory.mkdir(parents=True)
        noise = np.random.default_rng(0).bytes(1 << 22)
        size = max(self.record_bytes - _OVERHEAD, 1)
        encode = Encoder(_SCHEMA)
        for number, path in enumerate(self.paths):
            ids = range(number, self.num_records, self.num_shards)
            starts = ((i * 7919) % (len(noise) - size) for i in ids)
            write_records(
                path, (encode({"image": noise[at : at + size], "label": at % 2}) for at in starts)
            )

    def drop_from_memory(self) -> None:
        """So that the next to read has to ask the disk."""
        for path in self.paths:
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
    return tf.io.parse_example(records, _FEATURES)


def source(records: Records, batch: int, shuffle: str = "full", window: int = 1) -> Source:
    found = RecordSet.open(records.directory, "train")
    order = Order(
        found.num_records,
        batch,
        seed=1,
        shuffle=shuffle,  # type: ignore[arg-type]
        shard_sizes=found.shard_sizes,
        window_shards=window,
    )
    return Source(found, order, parse=parse)


def shuffled(records: Records, batch: int) -> tf.data.Dataset:
    return source(records, batch).dataset(Position(0, 0, 0), Slice())


def windows(records: Records, batch: int) -> tf.data.Dataset:
    return source(records, batch, "shards").dataset(Position(0, 0, 0), Slice())


def sequential(records: Records, batch: int) -> tf.data.Dataset:
    return _parsed(tf.data.TFRecordDataset(records.paths).repeat(), batch)


def sequential_buffered(records: Records, batch: int) -> tf.data.Dataset:
    """A larger buffer, and batches copied by several threads."""
    data = tf.data.TFRecordDataset(records.paths, buffer_size=1 << 20).repeat()
    return _parsed(data, batch, parallel=True)


def interleaved(records: Records, batch: int) -> tf.data.Dataset:
    """All shards side by side."""
    files = tf.data.Dataset.from_tensor_slices(records.paths).repeat()
    data = files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(8, records.num_shards),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return _parsed(data, batch)


SEQUENTIAL = {"plain": sequential, "buffered": sequential_buffered, "interleaved": interleaved}


def _parsed(data: tf.data.Dataset, batch: int, parallel: bool = False) -> tf.data.Dataset:
    data = data.batch(batch, num_parallel_calls=tf.data.AUTOTUNE if parallel else None)
    data = data.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.prefetch(tf.data.AUTOTUNE)


class Reader:
    """Counts what a pipeline gives, in a graph: Python would be the larger part for small batches."""

    def __init__(self, data: tf.data.Dataset, batches_at_once: int):
        iterator = iter(data)

        @tf.function(autograph=False)
        def read() -> tf.Tensor:
            def step(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return i + 1, total + tf.size(next(iterator)["label"])

            return tf.while_loop(lambda i, _: i < batches_at_once, step, (0, 0))[1]

        self._read = read

    def examples_per_second(self, warm_up_seconds: float, seconds: float) -> float:
        self._count(warm_up_seconds)
        begin = time.perf_counter()
        examples = self._count(seconds)
        return examples / (time.perf_counter() - begin)

    def _count(self, seconds: float) -> int:
        end, examples = time.perf_counter() + seconds, 0
        while True:
            examples += int(self._read())
            if time.perf_counter() >= end:
                return examples


def turn(
    side: Callable[[Records, int], tf.data.Dataset],
    records: Records,
    batch: int,
    warm_up_seconds: float,
    seconds: float,
) -> float:
    """Examples/s of one side, in a pipeline of its own: nothing is left running for the next one's turn."""
    at_once = max(1, 5_000_000 // (records.record_bytes * batch))
    return Reader(side(records, batch), at_once).examples_per_second(warm_up_seconds, seconds)
