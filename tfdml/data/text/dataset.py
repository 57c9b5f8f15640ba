"""Text for training and testing a language model: rows of tokens, each of which has to be foretold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from tfdml.data.conversion.splits import TRAIN
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.order import Order
from tfdml.data.origin import Origin
from tfdml.data.records import RecordSet
from tfdml.data.source import Source
from tfdml.data.text.bpe import TextTokenizer
from tfdml.data.text.documents import FEATURE
from tfdml.data.text.prepare import TOKENIZER, TextSettings, prepare
from tfdml.data.text.survey import TEST, Facts

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True, eq=False)
class TextDataset:
    """Documents, one after the other with an end after each, cut into rows of `sequence_length` tokens.

    A batch is (tokens, next_tokens, weights), int32, int32 and float32 [batch, sequence_length]. `next_tokens` are a
    row; `tokens` are the same one place later, behind an end of a document: so every token of the data is to be
    foretold exactly once, from those before it in its row. Weights are 1, and 0 where the last row is filled up.

    Attributes:
        directory: of the shards.
        facts: documents and bytes of each split.
    """

    name: str
    directory: Path
    sequence_length: int
    tokenizer: TextTokenizer
    facts: Facts = field(repr=False)
    origin: Origin = field(repr=False)

    def training(self, global_batch_size: int, *, seed: int) -> Source:
        """Rows of the training documents, each epoch in another order, which depends on the seed alone."""
        return self._source(TRAIN, global_batch_size, seed)

    def evaluation(self, global_batch_size: int) -> Source:
        """Rows of the held-out documents, in a fixed order."""
        return self._source(TEST, global_batch_size, None)

    def num_rows(self, split: str) -> int:
        return self.origin.splits[split]

    def summary(self) -> str:
        """One line for people."""
        facts, tokenizer = self.facts, self.tokenizer
        splits = (
            f"{facts.documents[split]:,} documents of {facts.bytes[split]:,} bytes for {what}"
            for split, what in ((TRAIN, "training"), (TEST, "testing"))
        )
        tokens = self.num_rows(TRAIN) * self.sequence_length
        return (
            f"{' and '.join(splits)}; {tokenizer.num_tokens:,} tokens of {facts.bytes[TRAIN] / tokens:.2f} bytes "
            "in the mean"
        )

    def bits_per_byte(self, loss: float) -> float:
        """Of the held-out documents.

        Args:
            loss: nats over all held-out tokens, ends of documents among them, divided by num_rows * sequence_length:
                what Keras's cross-entropy is for `evaluation`, whatever the batches.
        """
        nats = loss * self.num_rows(TEST) * self.sequence_length
        return nats / math.log(2) / self.facts.bytes[TEST]

    def _source(self, split: str, global_batch_size: int, seed: int | None) -> Source:
        records = RecordSet.open(self.directory, split)
        order = Order(
            records.num_records,
            global_batch_size,
            seed=seed or 0,
            shuffle="none" if seed is None else "full",
        )
        return Source(records, order, parse=self._parse, batching=self._shifted)

    def _parse(self, records: tf.Tensor) -> tf.Tensor:
        feature = tf.io.FixedLenFeature([self.sequence_length], tf.int64)
        return tf.cast(tf.io.parse_example(records, {FEATURE: feature})[FEATURE], tf.int32)

    def _shifted(self, rows: tf.Tensor) -> Batch:
        ends = tf.fill([tf.shape(rows)[0], 1], self.tokenizer.end)
        tokens = tf.concat([ends, rows[:, :-1]], axis=1)
        weights = tf.cast(tf.not_equal(rows, self.tokenizer.pad), tf.float32)
        return tf.ensure_shape(tokens, [None, self.sequence_length]), rows, weights


def open_text(dataset: str, *, data_dir: str | Path, settings: TextSettings) -> TextDataset:
    """Open a text data set: convert its files to tokens first, where nobody has.

    Args:
        dataset: `standard_library`, or a directory, a pattern, a file or a URL of UTF-8 text.
        data_dir: where tokens and tokenizers are kept.

    Raises:
        DataError: there is no text, or a file is no text.
    """
    directory = prepare(dataset, Path(data_dir).expanduser(), settings)
    manifest = DatasetManifest.read(directory)
    return TextDataset(
        dataset,
        directory,
        settings.sequence_length,
        TextTokenizer.read(directory / TOKENIZER),
        Facts.read(directory),
        Origin.of_manifest(manifest, dataset),
    )
