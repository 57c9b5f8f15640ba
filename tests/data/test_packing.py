"""Rows of several records: all tokens once, none across a row, and a step found without the ones before."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfdml.data.order import Order
from tfdml.data.packing import (
    PackedRecords,
    Packing,
    attention_within_segments,
    measure_lengths,
)
from tfdml.errors import ConfigError, DataError

LENGTHS = [3, 5, 1, 8, 2, 2, 2, 7, 1]
SENTENCES = [list(range(10 * i + 1, 10 * i + 1 + length)) for i, length in enumerate(LENGTHS)]


class Sentences:
    """Records in memory: tokens as text, in two shards."""

    shards = tuple(
        SimpleNamespace(path=f"s-{i}", num_records=n, version="1") for i, n in enumerate((4, 5))
    )
    num_records = 9
    shard_sizes = (4, 5)
    first_ids = np.array([0, 4, 9])

    def __init__(self) -> None:
        self.read_ids: list[int] = []

    def read(self, ids, epoch, step):
        del epoch, step

        def lines(ids):
            self.read_ids += ids.tolist()
            return np.array([" ".join(map(str, SENTENCES[i])).encode() for i in ids], object)

        return tf.ensure_shape(tf.numpy_function(lines, [ids], tf.string), [None])


def parse(records):
    return tf.strings.to_number(tf.strings.split(records), tf.int32)


def test_neighbours_share_a_row_as_long_as_they_fit():
    packing = Packing.of(LENGTHS, 8)
    assert packing.starts.tolist() == [0, 2, 3, 4, 7, 9]
    assert packing.filled == pytest.approx(31 / 40)


def test_rows_do_not_go_on_into_the_next_shard():
    assert Packing.of(LENGTHS, 8, (1, 0, 5, 3)).starts.tolist() == [0, 1, 3, 4, 6, 7, 9]
    packed = PackedRecords.of(Sentences(), LENGTHS, 13)
    assert packed.packing.starts.tolist() == [0, 3, 4, 8, 9]
    assert packed.shard_sizes == (2, 2)


def test_every_record_is_in_one_row_and_none_overflows():
    random = np.random.default_rng(0)
    for row_length in (100, 128, 1000):
        lengths = random.integers(0, 101, 5000)
        starts = Packing.of(lengths, row_length).starts
        sums = np.add.reduceat(lengths, starts[:-1])
        assert starts[0] == 0 and starts[-1] == 5000 and (np.diff(starts) > 0).all()
        assert sums.max() <= row_length
        # Greedy: the next record would not have fitted.
        assert (sums[:-1] + lengths[starts[1:-1]] > row_length).all()


def test_rows_hold_tokens_segments_and_positions():
    packed = PackedRecords(Sentences(), Packing.of(LENGTHS, 8))
    zero = tf.constant(0, tf.int64)
    rows = packed.read(tf.constant([3, 0], tf.int64), zero, zero)
    parsed = packed.parse(parse)(rows)
    first = SENTENCES[4] + SENTENCES[5] + SENTENCES[6]
    np.testing.assert_array_equal(parsed["tokens"][0], [*first, 0, 0])
    np.testing.assert_array_equal(parsed["segments"][0], [1, 1, 2, 2, 3, 3, 0, 0])
    np.testing.assert_array_equal(parsed["positions"][0], [0, 1, 0, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(parsed["tokens"][1], SENTENCES[0] + SENTENCES[1])
    assert parsed["tokens"].dtype == tf.int32 and packed.shard_sizes == (3, 2)


def test_an_epoch_of_rows_has_every_token_once_and_any_step_reads_its_own_records_only():
    sentences = Sentences()
    packed = PackedRecords(sentences, Packing.of(LENGTHS, 8))
    order = Order(packed.num_records, global_batch_size=2, seed=1)
    parse_rows = packed.parse(parse)

    @tf.function
    def batch(ids):
        return parse_rows(packed.read(ids, tf.constant(0, tf.int64), tf.constant(0, tf.int64)))

    steps = [
        batch(order.record_ids(0, step))["tokens"].numpy() for step in range(order.steps_per_epoch)
    ]
    tokens = np.concatenate([step.ravel() for step in steps])
    assert sorted(tokens[tokens > 0]) == sorted(np.concatenate(SENTENCES))

    sentences.read_ids.clear()
    last = order.record_ids(0, 2)
    np.testing.assert_array_equal(batch(last)["tokens"], steps[2])
    starts = packed.packing.starts
    assert sentences.read_ids == [i for row in last for i in range(starts[row], starts[row + 1])]


def test_attention_stays_within_a_segment_and_out_of_padding():
    mask = attention_within_segments(tf.constant([[1, 1, 2, 0]])).numpy()[0].astype(int)
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])


def test_lengths_are_measured_once(tmp_path):
    sentences, keep = Sentences(), tmp_path / "lengths.npz"
    lengths = measure_lengths(sentences, parse, keep=keep)
    np.testing.assert_array_equal(lengths, LENGTHS)
    assert len(sentences.read_ids) == 9
    np.testing.assert_array_equal(measure_lengths(sentences, parse, keep=keep), lengths)
    assert len(sentences.read_ids) == 9

    sentences.shards = (
        *sentences.shards[:1],
        SimpleNamespace(path="s-1", num_records=5, version="2"),
    )
    measure_lengths(sentences, parse, keep=keep)  # another version of a shard
    assert len(sentences.read_ids) == 18

    keep.write_text("nonsense")
    with pytest.raises(DataError, match=r"lengths.npz: no lengths of records.*Remove it"):
        measure_lengths(sentences, parse, keep=keep)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="`row_length` is 7 tokens, but record 3 has 8"):
        Packing.of(LENGTHS, 7)
    with pytest.raises(ConfigError, match="`row_length` must be at least 1"):
        Packing.of([1], 0)
    with pytest.raises(DataError, match="no record"):
        Packing.of([], 5)
    with pytest.raises(DataError, match="The packing is of 2 records, but there are 9"):
        PackedRecords(Sentences(), Packing.of([1, 1], 5))
