"""Directories with our manifest, with TFDS's side files, with shards alone, and with none of these."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from tests.data.directories import LABELS, write_directory
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.example import decode, encode
from tfdml.data.format.features import Feature
from tfdml.data.format.guess_schema import guess_schema
from tfdml.data.format.record_file import RecordError
from tfdml.errors import DataError
from tfdml.storage import storage_for


def test_with_a_manifest(tmp_path):
    manifest = write_directory(tmp_path, {"train": 5, "test": 2})
    found = DatasetDirectory.open(tmp_path)
    assert found.name == "toy"
    assert found.schema == manifest.schema
    assert {split: len(files) for split, files in found.splits.items()} == {"train": 2, "test": 2}
    assert [s for s, _ in found.shards()] == ["train", "train", "test", "test"]
    assert [s for s, _ in found.shards("test")] == ["test", "test"]
    with pytest.raises(DataError, match="no split 'val'; there are train, test"):
        found.shards("val")
    labels = [
        decode(r, found.schema)["label"] for _, f in found.shards("train") for r in found.records(f)
    ]
    assert labels == [0, 2, 1, 1, 0]


def test_with_tfds_side_files_alone(tmp_path):
    manifest = write_directory(tmp_path, {"train": 5})
    (tmp_path / "manifest.json").unlink()
    found = DatasetDirectory.open(tmp_path)
    assert found.manifest is None
    assert (found.name, found.schema) == ("toy", manifest.schema)
    assert found.schema["label"].class_names == LABELS
    assert found.tfds.shard_records == {"train": (3, 2)}


def test_without_side_files(tmp_path):
    write_directory(tmp_path, {"train": 5})
    for file in tmp_path.glob("*.*"):
        if file.is_file() and ".tfrecord" not in file.name:
            file.unlink()
    found = DatasetDirectory.open(tmp_path)
    assert (found.name, found.schema, found.tfds) == (tmp_path.name, None, None)
    assert guess_schema(found.records(found.splits["train"][0])) == {
        "image": Feature("image", shape=(2, None, 1), encoding="png"),
        "label": Feature("label"),
        "text": Feature("text"),
        "x": Feature("tensor", "float32", (3,)),
    }


def test_remote_files_are_read_in_ranges(tmp_path, monkeypatch):
    url = f"memory://{uuid.uuid4()}"
    write_directory(tmp_path, {"train": 50})
    for file in tmp_path.rglob("*"):
        if file.is_file():
            storage_for(url).write_bytes(file.relative_to(tmp_path).as_posix(), file.read_bytes())
    monkeypatch.setattr("tfdml.data.format.dataset_directory._REMOTE_BUFFER", 100)
    local, remote = DatasetDirectory.open(tmp_path), DatasetDirectory.open(url)
    assert remote.manifest.to_bytes() == local.manifest.to_bytes()
    for _, file in local.shards():
        assert list(remote.records(file)) == list(local.records(file))


def test_damage_is_named(tmp_path):
    write_directory(tmp_path, {"train": 5})
    found = DatasetDirectory.open(tmp_path)
    file = found.splits["train"][1]
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-1])
    with pytest.raises(RecordError, match=f"{file}: ends within record 1"):
        list(found.records(file))
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=f"{file}: no such file"):
        list(found.records(file))


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(DataError, match="no such directory, or an empty one"):
        DatasetDirectory.open(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="no TFRecord shards; they are called NAME-SPLIT"):
        DatasetDirectory.open(tmp_path)
    (tmp_path / ".conversion").mkdir()
    (tmp_path / ".conversion" / "conversion.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"an unfinished conversion\. Run the same tfdml convert again"
    ):
        DatasetDirectory.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format_version": 3}')
    with pytest.raises(DataError, match=r"manifest\.json: format version 3"):
        DatasetDirectory.open(tmp_path)


def test_guessing():
    def guessed(schema, *rows):
        return guess_schema(encode(row, schema) for row in rows)

    schema = {
        "tokens": Feature("tensor", "int64", (None,)),
        "fixed": Feature("tensor", "float32", (2,)),
        "raw": Feature("tensor", "float64", (1,)),
        "words": Feature("tensor", "string", (None,)),
        "image/class/label": Feature("label"),
    }
    rows = [
        {
            "tokens": np.arange(i),
            "fixed": np.zeros(2, np.float32),
            "raw": np.ones(1),
            "words": [b"a"] * (i % 2),
            "image/class/label": i,
        }
        for i in range(3)
    ]
    assert guessed(schema, *rows) == dict(
        sorted((schema | {"raw": Feature("tensor", "string", ())}).items())
    )
    with pytest.raises(DataError, match="no record"):
        guess_schema([])
    with pytest.raises(DataError, match=r"no tf\.train\.Example"):
        guess_schema([b"hello"])
