"""Packed batches: several short sequences in one row, so that little is padding, and still resumable.

Which records share a row is decided once, from their lengths: neighbours, in the order in which they were
written, as many of a shard as fit. These rows are what an Order then shuffles, so a step is found in no time, every
record is seen once per epoch, and the records of a row are neighbours in their shard, read at one go. The
same records share a row in every epoch, which attention within segments does not notice.

    lengths = measure_lengths(records, parse, keep="shards/lengths.npy")
    packed = PackedRecords.of(records, lengths, row_length=512)
    Source(packed, Order(packed.num_records, global_batch_size=64), parse=packed.parse(parse))

Text that the converter has packed to a fixed length (`--pack`) needs none of this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdml.data.records import RecordSet, Shard
from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import appears_when_whole

# Serialised records [n] -> their tokens, a RaggedTensor [n, None].
ParseTokens = Callable[[tf.Tensor], tf.RaggedTensor]

_RECORDS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Packing:
    """Which records are in which row.

    Attributes:
        starts: int64 [rows + 1]: row i holds the records starts[i] to starts[i + 1] - 1.
        row_length: tokens in a row.
        num_tokens: in all records.
    """

    starts: np.ndarray
    row_length: int
    num_tokens: int

    @classmethod
    def of(
        cls, lengths: np.ndarray, row_length: int, shard_sizes: Sequence[int] | None = None
    ) -> Packing:
        """The packing of records with these numbers of tokens (int [n]).

        Args:
            shard_sizes: records of each shard, none of whose rows goes on into the next.

        Raises:
            ConfigError: a record is longer than a row.
        """
        lengths = np.asarray(lengths, np.int64)
        if row_length < 1:
            raise ConfigError(f"`row_length` must be at least 1 token, got {row_length}.")
        if len(lengths) == 0:
            raise DataError("There is no record to pack.")
        longest = int(lengths.argmax())
        if lengths[longest] > row_length:
            raise ConfigError(
                f"`row_length` is {row_length} tokens, but record {longest} has {lengths[longest]}. Use longer "
                "rows, or let `parse` cut sequences off."
            )
        starts, first = [], 0
        for size in (len(lengths),) if shard_sizes is None else shard_sizes:
            starts += [
                first + start for start in _starts(lengths[first : first + size], row_length)
            ]
            first += size
        return cls(np.array([*starts, first]), row_length, int(lengths.sum()))

    @property
    def num_rows(self) -> int:
        return len(self.starts) - 1

    @property
    def filled(self) -> float:
        """The part of all rows that is no padding."""
        return self.num_tokens / (self.num_rows * self.row_length)


def _starts(lengths: np.ndarray, row_length: int) -> Iterator[int]:
    ends = np.cumsum(lengths)
    start, before = 0, 0
    while start < len(ends):
        yield start
        # All records whose end lies within this row; one at least, because none is longer than a row.
        start = int(np.searchsorted(ends, before + row_length, side="right"))
        before = int(ends[start - 1])


@dataclass(frozen=True, eq=False)
class PackedRecords:
    """Rows of several records each, for a Source in the place of its records: a "record" is a row."""

    records: RecordSet
    packing: Packing

    def __post_init__(self) -> None:
        packed = int(self.packing.starts[-1])
        if packed != self.records.num_records:
            raise DataError(
                f"The packing is of {packed} records, but there are {self.records.num_records}. Measure their "
                "lengths again."
            )

    @classmethod
    def of(cls, records: RecordSet, lengths: np.ndarray, row_length: int) -> PackedRecords:
        """All `records`, of which `lengths` (int [num_records]) has the numbers of tokens.

        Raises:
            ConfigError: a record is longer than a row.
        """
        return cls(records, Packing.of(lengths, row_length, records.shard_sizes))

    @property
    def num_records(self) -> int:
        """Rows, which are what an Order counts."""
        return self.packing.num_rows

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """Rows in each shard."""
        begins = np.searchsorted(self.packing.starts[:-1], self.records.first_ids)
        return tuple(int(n) for n in np.diff(begins))

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Where the records are."""
        return self.records.shards

    @property
    def staged(self) -> Any:
        """How shards of a remote set are brought here; None where all are there."""
        return self.records.staged

    def in_order(self, order: Any) -> PackedRecords:
        """The same, with shards of a remote set fetched ahead in the order of need."""
        return replace(self, records=self.records.in_order(order))

    def read(self, ids: tf.Tensor, epoch: tf.Tensor | None, step: tf.Tensor) -> tf.RaggedTensor:
        """In a graph: rows int64 [n] -> string [n, None], the serialised records of each."""
        with (
            tf.init_scope()
        ):  # a tensor beside the graph: in it, a table of millions would be copied with it
            starts = tf.constant(self.packing.starts)
        numbers = tf.ragged.range(tf.gather(starts, ids), tf.gather(starts, ids + 1))
        values = self.records.read(numbers.values, epoch, step)
        return tf.RaggedTensor.from_row_splits(values, numbers.row_splits, validate=False)

    def parse(self, parse_tokens: ParseTokens) -> Callable[[tf.RaggedTensor], dict[str, tf.Tensor]]:
        """What a Source parses with: rows of records -> {"tokens", "segments", "positions"}.

        All are [n, row_length]. Segments count the records of a row from 1, and are 0 in padding, where
        tokens are 0 too; positions count the tokens of a record from 0.
        """
        row_length = self.packing.row_length

        def parse(rows: tf.RaggedTensor) -> dict[str, tf.Tensor]:
            tokens = parse_tokens(rows.values).with_row_splits_dtype(tf.int64)  # [records, tokens]
            lengths = tokens.row_lengths()
            places = tf.ragged.range(lengths)
            number = tf.repeat(tf.ragged.range(rows.row_lengths()).values + 1, lengths)
            parts = {
                "tokens": tokens.values,
                "segments": tf.cast(number, tf.int32),
                "positions": tf.cast(places.values, tf.int32),
            }
            return {
                name: rows.with_values(tokens.with_values(values))
                .merge_dims(1, 2)
                .to_tensor(shape=[None, row_length])
                for name, values in parts.items()
            }

        return parse


def attention_within_segments(segments: tf.Tensor) -> tf.Tensor:
    """int [n, length] -> bool [n, length, length]: which tokens may attend to which.

    For `attention_mask` of keras.layers.MultiHeadAttention, with or without `use_causal_mask`.
    """
    same = segments[:, :, tf.newaxis] == segments[:, tf.newaxis, :]
    return same & (segments > 0)[:, tf.newaxis, :]


def measure_lengths(
    records: RecordSet, parse_tokens: ParseTokens, *, keep: str | PathLike[str] | None = None
) -> np.ndarray:
    """int32 [num_records]: tokens in each record, by reading all of them once.

    Args:
        keep: a .npz file that remembers the lengths, together with which shards they are of; a later call
            reads it instead. All tasks of a job need one that is written, or write the same.

    Raises:
        DataError: `keep` holds something else.
    """
    shards = [f"{Path(s.path).name} {s.num_records} {s.version}" for s in records.shards]
    digest = hashlib.sha256("\n".join(shards).encode()).hexdigest()
    file = None if keep is None else Path(keep)
    if file is not None and file.exists():
        try:
            with np.load(file) as kept:
                if str(kept["digest"]) == digest:
                    return kept["lengths"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file}: no lengths of records ({error}). Remove it.") from None
    lengths = np.concatenate(list(_measured(records, parse_tokens)))
    if file is not None:
        with appears_when_whole(file) as unfinished, open(unfinished, "wb") as opened:
            np.savez(opened, lengths=lengths, digest=np.array(digest))
    return lengths


def _measured(records: RecordSet, parse_tokens: ParseTokens) -> Iterator[Any]:
    def measure(ids: tf.Tensor) -> tf.Tensor:
        zero = tf.constant(0, tf.int64)
        return tf.cast(parse_tokens(records.read(ids, zero, zero)).row_lengths(), tf.int32)

    ids = tf.data.Dataset.range(records.num_records).batch(_RECORDS_AT_ONCE)
    return ids.map(measure, tf.data.AUTOTUNE, deterministic=True).as_numpy_iterator()
