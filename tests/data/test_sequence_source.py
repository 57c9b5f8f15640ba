"""Sequences out of real shards through a Source: padded, and packed; by any number of workers, from any step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.batching import Padded
from tfdml.data.format.example import Encoder
from tfdml.data.format.features import Feature
from tfdml.data.format.record_file import write_records
from tfdml.data.order import Order, Slice
from tfdml.data.packing import PackedRecords, measure_lengths
from tfdml.data.records import RecordSet
from tfdml.data.source import Source

LENGTHS = [3, 9, 1, 5, 4, 4, 2, 8, 7, 1, 1, 6, 3]
SENTENCES = [list(range(100 * i + 1, 100 * i + 1 + n)) for i, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sentences")
    encode = Encoder({"tokens": Feature("tensor", "int64", (None,))})
    files = []
    for number, part in enumerate((SENTENCES[:6], SENTENCES[6:])):
        files.append(directory / f"sentences-train.tfrecord-{number:05d}-of-00002")
        write_records(files[-1], [encode({"tokens": np.array(s, np.int64)}) for s in part])
    return RecordSet.of_files(files)


def parse_tokens(batch):
    return tf.io.parse_example(batch, {"tokens": tf.io.RaggedFeature(tf.int64)})["tokens"]


def read(source, count, start=Position(0, 0, 0), part=Slice()):  # noqa: B008
    return list(source.dataset(start, part).take(count).as_numpy_iterator())


def padded(records):
    order = Order(records.num_records, 4, seed=2)
    return Source(
        records,
        order,
        parse=lambda batch: {"tokens": parse_tokens(batch)},
        ragged=True,
        batching=Padded(multiple_of=4, mask=True),
    )


def test_padded_batches_of_an_epoch_hold_every_sequence_once(records):
    source = padded(records)
    found = []
    for batch in read(source, source.steps_per_epoch):
        assert batch["tokens"].shape[1] % 4 == 0
        found += [
            list(row[mask]) for row, mask in zip(batch["tokens"], batch["tokens_mask"], strict=True)
        ]
    assert sorted(found) == sorted(SENTENCES)


def test_padded_slices_and_resumed_batches_hold_the_same_sequences(records):
    whole = read(padded(records), 8)
    first, second = (read(padded(records), 8, part=Slice(i, 1, 2)) for i in (0, 1))
    resumed = read(padded(records), 3, Position(1, 1, 5))
    for batch, again in zip(whole[5:], resumed, strict=True):
        np.testing.assert_array_equal(batch["tokens"], again["tokens"])
    for batch, *parts in zip(whole, first, second, strict=True):
        rows = [row[row > 0].tolist() for part in parts for row in part["tokens"]]
        expected = [row[row > 0].tolist() for row in batch["tokens"]]
        assert (
            rows[: len(expected)] == expected
        )  # a slice without rows holds one that does not count


def test_packed_rows(records, tmp_path):
    lengths = measure_lengths(records, parse_tokens, keep=tmp_path / "lengths.npz")
    np.testing.assert_array_equal(lengths, LENGTHS)
    packed = PackedRecords.of(records, lengths, row_length=10)

    def source():
        order = Order(
            packed.num_records, 2, seed=5, shuffle="shards", shard_sizes=packed.shard_sizes
        )
        return Source(packed, order, parse=packed.parse(parse_tokens))

    steps = source().steps_per_epoch
    whole = read(source(), 2 * steps)
    for epoch in (whole[:steps], whole[steps:]):
        tokens = np.concatenate([batch["tokens"].ravel() for batch in epoch])
        assert sorted(tokens[tokens > 0]) == sorted(np.concatenate(SENTENCES))
    resumed = read(source(), 2, Position(1, 1, steps + 1))
    parts = [read(source(), 2, Position(1, 1, steps + 1), Slice(i, 1, 2)) for i in (0, 1)]
    for number in (0, 1):
        expected = whole[steps + 1 + number]
        for name in ("tokens", "segments", "positions"):
            np.testing.assert_array_equal(resumed[number][name], expected[name])
            joined = np.concatenate([part[number][name] for part in parts])
            np.testing.assert_array_equal(joined[: len(expected[name])], expected[name])
