"""Rows of tokens: every token of a split is to be foretold once, in an order that no number of workers changes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.data.text.folder import SETTINGS, write_folder
from tfdml.checkpoint import Position
from tfdml.data import Slice, open_text
from tfdml.data.text.documents import open_documents
from tfdml.errors import ConfigError, DataError

LENGTH = SETTINGS.sequence_length


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def text(folder, tmp_path_factory):
    return open_text(str(folder), data_dir=tmp_path_factory.mktemp("data"), settings=SETTINGS)


def batches(source, count=None, start=Position(0, 0, 0), part=Slice()):  # noqa: B008
    count = source.steps_per_epoch if count is None else count
    return list(source.dataset(start, part).take(count).as_numpy_iterator())


def documents_of(folder, text, split):
    """Tokens of all documents, each with its end, one after the other."""
    found = []
    for of, document in SETTINGS.texts(open_documents(str(folder), "file")):
        if of == split:
            found += [*text.tokenizer.encode(document), text.tokenizer.end]
    return found


@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_are_the_documents_one_after_the_other(folder, text, split):
    source = text.training(4, seed=1) if split == "train" else text.evaluation(4)
    tokens, following, weights = (
        np.concatenate(parts) for parts in zip(*batches(source), strict=True)
    )
    expected = documents_of(folder, text, split)
    padded = np.pad(expected, [0, -len(expected) % LENGTH]).reshape(-1, LENGTH)
    assert sorted(following.tolist()) == sorted(padded.tolist())
    assert len(padded) == text.num_rows(split)
    # Each is foretold from those before it in its row.
    assert np.all(tokens[:, 0] == text.tokenizer.end)
    np.testing.assert_array_equal(tokens[:, 1:], following[:, :-1])
    np.testing.assert_array_equal(weights, following != text.tokenizer.pad)
    assert weights.sum() == len(expected)
    assert (tokens.dtype, following.dtype, weights.dtype) == (np.int32, np.int32, np.float32)


def test_any_step_and_any_slice_have_the_rows_of_the_whole(text):
    source = text.training(5, seed=3)
    steps = source.steps_per_epoch
    whole = batches(source, steps + 5)
    resumed = batches(text.training(5, seed=3), 4, Position(1, 1, steps + 1))
    for number, batch in enumerate(resumed):
        for mine, expected in zip(batch, whole[steps + 1 + number], strict=True):
            np.testing.assert_array_equal(mine, expected)
    parts = [batches(source, steps + 5, part=Slice(i, 1, 2)) for i in (0, 1)]
    for batch, *halves in zip(whole, *parts, strict=True):
        for column, expected in enumerate(batch):
            joined = np.concatenate([half[column] for half in halves])[: len(expected)]
            np.testing.assert_array_equal(joined, expected)
    other = batches(text.training(5, seed=4), 1)
    assert not np.array_equal(other[0][1], whole[0][1])


def test_the_vocabulary_is_of_training_documents_alone(tmp_path):
    folder = write_folder(tmp_path / "texts")
    split_of = SETTINGS.splits.bounds().split_of
    held_out = next(file for file in sorted(folder.glob("*.txt")) if split_of(file.name) == "test")
    before = open_text(str(folder), data_dir=tmp_path / "data", settings=SETTINGS)
    held_out.write_text("Xylophon " * 1000)
    after = open_text(str(folder), data_dir=tmp_path / "data", settings=SETTINGS)
    assert before.directory != after.directory  # nothing is stale
    assert before.tokenizer.content == after.tokenizer.content
    assert after.facts.bytes["test"] > before.facts.bytes["test"]


def test_a_tokenizer_that_is_given_is_used_and_leads_to_the_same_shards(folder, text):
    settings = dataclasses.replace(SETTINGS, tokenizer=text.tokenizer.content)
    again = open_text(str(folder), data_dir=text.directory.parent, settings=settings)
    assert again.directory == text.directory
    for special in (b"<|endoftext|>", b"<pad>"):
        without = text.tokenizer.content.replace(special, b"<other>")
        settings = dataclasses.replace(SETTINGS, tokenizer=without)
        with pytest.raises(ConfigError, match=r"must have a token that ends a document.* another"):
            open_text(str(folder), data_dir=text.directory.parent, settings=settings)


@pytest.mark.parametrize("global_batch_size", [3, 64])
def test_bits_per_byte_are_those_of_numpy_whatever_the_batches(folder, text, global_batch_size):
    import keras

    import tfdml

    # A bigram model: the logits of the next token are a row of a table.
    size = text.tokenizer.num_tokens
    strategy = tfdml.strategies.create("one_device", tfdml.cluster.resolve())
    with strategy.scope():
        table = keras.layers.Embedding(size, size)
        model = keras.Sequential([keras.Input((None,), dtype="int32"), table])
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    table.set_weights([3 * np.random.default_rng(0).normal(size=[size, size])])
    loss = tfdml.Trainer(model, strategy).evaluate(text.evaluation(global_batch_size))["loss"]

    stream = np.array(documents_of(folder, text, "test"))
    before = np.where(np.arange(len(stream)) % LENGTH, np.roll(stream, 1), text.tokenizer.end)
    logits = table.get_weights()[0].astype(np.float64)[before]
    log_sums = np.log(np.exp(logits).sum(axis=1))
    nats = np.sum(log_sums - logits[np.arange(len(stream)), stream])
    bits_per_byte = nats / math.log(2) / text.facts.bytes["test"]
    assert text.bits_per_byte(loss) == pytest.approx(bits_per_byte, rel=1e-5)


def test_settings_out_of_range_are_refused():
    for change, message in (
        ({"sequence_length": 1}, "`sequence_length` must be at least 2 tokens, got 1"),
        ({"test_fraction": 1.0}, r"`test_fraction` must be in \(0, 1\), got 1.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            dataclasses.replace(SETTINGS, **change)


def test_a_data_directory_that_cannot_be_written_is_one_sentence(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"The tokens cannot be written to .*Set data.data_dir"):
        open_text(str(folder), data_dir=tmp_path / "file", settings=SETTINGS)
