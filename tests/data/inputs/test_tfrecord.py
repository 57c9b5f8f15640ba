"""TFRecord shards as input: TensorFlow writes them, we read them, with side files and without."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from tests.data.inputs.reading import opened, read, values
from tests.data.inputs.test_image_folder import encoded
from tfdml.data.format.example import decode, encode
from tfdml.data.format.features import Feature
from tfdml.data.format.record_file import frame, write_records
from tfdml.data.inputs.tfrecord import split_of
from tfdml.errors import ConfigError, DataError

SCHEMA = {
    "image": Feature("image", shape=(None, None, 3), encoding="png"),
    "label": Feature("label"),
    "x": Feature("tensor", "float32", (2, 3)),
    "words": Feature("tensor", "string", (None,)),
    "text": Feature("text"),
    "raw": Feature("tensor", "string"),
}
ROWS = [
    {
        "image": encoded(),
        "label": n % 3,
        "x": np.arange(6, dtype=np.float32).reshape(2, 3) + n,
        "words": [b"a"] * n,
        "text": f"Köln {n}".encode(),
        "raw": bytes([255, n]),
    }
    for n in range(12)
]


@pytest.fixture
def shards(tmp_path):
    """Two shards of a training split and one of a test split, without side files."""
    records = [encode(row, SCHEMA) for row in ROWS]
    write_records(tmp_path / "d-train.tfrecord-00000-of-00002", records[:5])
    write_records(tmp_path / "d-train.tfrecord-00001-of-00002", records[5:10])
    write_records(tmp_path / "d-test.tfrecord-00000-of-00001", records[10:])
    return tmp_path


def check(rows, wanted):
    for row, expected in zip(rows, wanted, strict=True):
        assert row.values["image"] == expected["image"]
        assert row.values["label"] == expected["label"]
        np.testing.assert_array_equal(row.values["x"].ravel(), expected["x"].ravel())
        assert list(row.values["words"]) == expected["words"]
        assert row.values["text"] == expected["text"]
        assert row.values["raw"] == expected["raw"]


def test_without_side_files_the_schema_is_told_from_the_records(shards):
    source = opened("tfrecord", shards)
    assert source.schema == {
        **{name: SCHEMA[name] for name in SCHEMA},
        "x": Feature("tensor", "float32", (6,)),
    }
    rows, bad = read(source)
    assert bad == []
    check(rows, [*ROWS[10:], *ROWS[:10]])
    assert [row.split for row in rows] == ["test"] * 2 + ["train"] * 10
    assert rows[-1].key == "d-train.tfrecord-00001-of-00002#4"
    assert rows[0].record is None


def test_flags_say_what_records_do_not(shards):
    source = opened(
        "tfrecord",
        shards,
        features=("x:float16:2x3", "raw:uint8:2"),
        class_names=("a", "b", "c"),
        input_split="train",
        key="text",
        drop=("image", "words"),
    )
    assert source.schema["label"].class_names == ("a", "b", "c")
    rows, bad = read(source)
    assert bad == []
    assert [row.key for row in rows] == [f"Köln {n}" for n in range(10)]
    assert rows[3].values["x"].dtype == np.float16
    np.testing.assert_array_equal(rows[3].values["x"], ROWS[3]["x"])
    np.testing.assert_array_equal(rows[3].values["raw"], [255, 3])


def test_features_json_is_the_schema_and_records_stay_as_they_are(shards):
    from tfdml.data.format.tfds_layout import _features

    (shards / "features.json").write_text(json.dumps(_features(SCHEMA)))
    source = opened("tfrecord", shards)
    assert source.schema == SCHEMA
    rows, bad = read(source)
    assert bad == []
    check(rows, [*ROWS[10:], *ROWS[:10]])
    assert rows[0].record == encode(ROWS[10], SCHEMA)
    assert read(opened("tfrecord", shards, drop=("raw",)))[0][0].record is None


def test_raw_records_come_with_their_label(shards):
    rows, _ = read(opened("tfrecord", shards, raw=True, input_split="test"))
    assert [row.values for row in rows] == [{"label": 1}, {"label": 2}]
    assert [row.record for row in rows] == [encode(row, SCHEMA) for row in ROWS[10:]]


def test_names_of_model_garden_and_gzip(tmp_path):
    schema = {
        "image/encoded": SCHEMA["image"],
        "image/class/label": Feature("label"),
        "image/height": Feature("tensor", "int64"),
    }
    records = [
        encode({"image/encoded": encoded(), "image/class/label": n, "image/height": 6}, schema)
        for n in range(3)
    ]
    write_records(tmp_path / "train-00000-of-00001.tfrecord", records, "GZIP")
    source = opened("tfrecord", tmp_path)
    assert set(source.schema) == {"image", "label", "image_height"}
    rows, bad = read(source)
    assert bad == []
    assert [row.values["label"] for row in rows] == [0, 1, 2]
    assert rows[0].split == "train"


@pytest.mark.slow  # imports TensorFlow
def test_what_tensorflow_writes(tmp_path):
    """Bytes of TensorFlow's own Example: packed and unpacked lists look different on the wire."""
    tf = pytest.importorskip("tensorflow")
    example = tf.train.Example()
    example.features.feature["n"].int64_list.value.extend([-1, 2**62])
    example.features.feature["f"].float_list.value.append(0.1)
    example.features.feature["b"].bytes_list.value.append(b"\xff")
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    (row,) = values(opened("tfrecord", tmp_path))
    assert row["n"].tolist() == [-1, 2**62]
    assert row["f"] == np.float32(0.1)
    assert row["b"] == b"\xff"


def test_fragments_are_whole_records(shards, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.tfrecord._FRAGMENT_BYTES", 300)
    source = opened("tfrecord", shards)
    assert len(source.fragments()) > 5
    check(read(source)[0], [*ROWS[10:], *ROWS[:10]])


def test_damage_is_told_and_reading_goes_on_where_it_can(shards):
    file = shards / "d-train.tfrecord-00000-of-00002"
    sizes = [len(frame(encode(row, SCHEMA))) for row in ROWS]
    content = bytearray(file.read_bytes())
    content[sizes[0] + 40] ^= 1  # inside of the second record
    file.write_bytes(content)
    rows, bad = read(opened("tfrecord", shards, input_split="train"))
    assert len(rows) == 9
    assert [row.location for row in bad] == [f"{file}, record 1"]
    assert "does not fit its checksum" in bad[0].reason
    content[sizes[0] + sizes[1]] ^= 1  # the length of the third
    file.write_bytes(content)
    rows, bad = read(opened("tfrecord", shards, input_split="train"))
    assert len(rows) == 6
    assert [row.location for row in bad] == [f"{file}, record 1", f"{file}, record 2"]
    file.write_bytes(content[: sizes[0] // 2])
    rows, bad = read(opened("tfrecord", shards, input_split="train"))
    assert len(rows) == 5
    assert "truncated" in bad[0].reason


def test_a_record_that_differs_is_a_bad_row(shards):
    other = {"label": Feature("tensor", "float32"), "text": SCHEMA["text"]}
    write_records(
        shards / "d-test.tfrecord-00000-of-00001",
        [encode(ROWS[0], SCHEMA)] * 250 + [encode({"label": 0.5, "text": b""}, other), b"\xff\xff"],
    )
    source = opened("tfrecord", shards, input_split="test", select=("label", "x"))
    rows, bad = read(source)
    assert len(rows) == 250
    assert bad[0].reason.startswith("feature 'label'")
    assert "no tf.train.Example" in bad[1].reason


def test_errors(shards, tmp_path_factory):
    with pytest.raises(ConfigError, match="the shards are of the splits 'test', 'train'"):
        opened("tfrecord", shards, input_split="validation")
    (shards / "d-train.tfrecord-00001-of-00002").unlink()
    with pytest.raises(DataError, match="lacks 1 of 2 shards"):
        opened("tfrecord", shards)
    empty = tmp_path_factory.mktemp("empty")
    (empty / "note.txt").touch()
    with pytest.raises(DataError, match="no TFRecord shards, which are named like"):
        opened("tfrecord", empty)
    (empty / "a.tfrecord").write_bytes(b"no records, but more than a header")
    with pytest.raises(DataError, match=r"a.tfrecord: no record that can be read"):
        opened("tfrecord", empty)
    (empty / "a.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        opened("tfrecord", empty)
    (empty / "a.tfrecord").write_bytes(gzip.compress(b"no records, but more than a header"))
    with pytest.raises(DataError, match="no record that can be read"):
        opened("tfrecord", empty)
    record = encode(
        {"a": [1], "a/b": [1], "a_b": [1]},
        dict.fromkeys(("a", "a/b", "a_b"), Feature("tensor", "int64", (1,))),
    )
    write_records(empty / "a.tfrecord", [record])
    with pytest.raises(DataError, match="two features would have the name 'a_b', 'a/b' and 'a_b'"):
        opened("tfrecord", empty)


@pytest.mark.parametrize(
    "name, split",
    [
        ("mnist-train.tfrecord-00000-of-00001", "train"),
        ("mnist-odd.tfrecord-00000-of-00001", "odd"),
        ("validation-00000-of-00128", "validation"),
        ("data.tfrecord", ""),
        ("notes.txt", ""),
    ],
)
def test_splits_that_names_say(name, split):
    assert split_of(f"/somewhere/{name}") == split


def test_decode_is_the_inverse_here():
    assert decode(encode(ROWS[1], SCHEMA), SCHEMA)["text"] == ROWS[1]["text"]
