"""`tfds.builder_from_directory` reads our data sets, every kind of feature; we read TFDS's side files."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tfdml.data.format.dataset_manifest import DatasetManifest, Shard
from tfdml.data.format.example import encode
from tfdml.data.format.features import Feature
from tfdml.data.format.record_file import write_records
from tfdml.data.format.shards import shard_name
from tfdml.data.format.tfds_layout import read_features, read_info, schema_of, tfds_files
from tfdml.errors import DataError

RANDOM = np.random.default_rng(0)


def pixels(i: int, channels: int, vary: bool) -> np.ndarray:
    shape = (4 + i, 6, channels) if vary else (5, 7, channels)
    return RANDOM.integers(0, 256, shape, np.uint8)


def encoded(array: np.ndarray, format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, format)
    return file.getvalue()


# feature -> value of row i as it is stored, and as TFDS shall give it
FEATURES = {
    "varying": Feature("image", shape=(None, None, 3), encoding="png"),
    "jpeg": Feature("image", shape=(None, None, 3), encoding="jpeg"),
    "grey": Feature("image", shape=(5, 7, 1), encoding="png"),
    "alpha": Feature("image", shape=(5, 7, 4), encoding="png"),
    "label": Feature("label", class_names=("cat", "dög", "a b")),
    "number": Feature("label"),
    "text": Feature("text"),
    "words": Feature("tensor", "string", (None,)),
    "float32": Feature("tensor", "float32", (2, 3)),
    "float64": Feature("tensor", "float64", (3,)),
    "float64_scalar": Feature("tensor", "float64"),
    "float16": Feature("tensor", "float16", (3,)),
    "bfloat16": Feature("tensor", "bfloat16", (3,)),
    "int64": Feature("tensor", "int64"),
    "int32": Feature("tensor", "int32", (None, 2)),
    "uint8": Feature("tensor", "uint8", (4, 4)),
    "uint8_list": Feature("tensor", "uint8", (4,), (), "list"),
    "uint16": Feature("tensor", "uint16", (2,)),
    "uint32": Feature("tensor", "uint32", (2,)),
    "bool": Feature("tensor", "bool", (2,)),
    "bool_scalar": Feature("tensor", "bool"),
    "dynamic": Feature("tensor", "float32", (None, None)),
    "dynamic_int": Feature("tensor", "int64", (None, 2, None)),
}


def row(i: int) -> tuple[dict, dict]:
    """What is written, and what TFDS shall read."""
    images = {
        "varying": pixels(i, 3, True),
        "grey": pixels(i, 1, False),
        "alpha": pixels(i, 4, False),
    }
    values = {
        "label": i % 3,
        "number": 1000 + i,
        "text": f"täxt {i}".encode(),
        "words": np.array([b"w"] * i, object),
        "float32": RANDOM.normal(size=(2, 3)).astype("f4"),
        "float64": RANDOM.normal(size=3),
        "float64_scalar": np.float64(i / 3),
        "float16": RANDOM.normal(size=3).astype("f2"),
        "bfloat16": RANDOM.normal(size=3).astype(ml_dtypes.bfloat16),
        "int64": np.int64(2**62 + i),
        "int32": np.full((i, 2), -i, np.int32),
        "uint8": RANDOM.integers(0, 256, (4, 4), np.uint8),
        "uint8_list": np.array([0, 127, 128, 255], np.uint8),
        "uint16": np.array([i, 65535], np.uint16),
        "uint32": np.array([i, 2**32 - 1], np.uint32),
        "bool": np.array([True, False]),
        "bool_scalar": np.bool_(i % 2),
        "dynamic": np.full((i, 3), i, np.float32),
        "dynamic_int": np.full((1, 2, i), i, np.int64),
    }
    jpeg = encoded(pixels(i, 3, True), "jpeg")
    stored = values | {name: encoded(image, "png") for name, image in images.items()}
    decoded = tf.io.decode_jpeg(jpeg, 3).numpy()
    return stored | {"jpeg": jpeg}, values | images | {"jpeg": decoded}


def write(directory, rows, *, compression="", name="toy-data", schema=FEATURES):
    """A data set with the rows in two shards of `train`, and one in `test`."""
    splits = {}
    for split, parts in {"train": [rows[::2], rows[1::2]], "test": [rows[:1]]}.items():
        splits[split] = []
        for number, part in enumerate(parts):
            file = shard_name(name, split, number, len(parts))
            records = [encode(values, schema) for values in part]
            written = write_records(directory / file, records, compression)
            figures = (len(part), written.bytes_written, written.crc32c)
            splits[split].append(Shard(file, *figures))
    manifest = DatasetManifest(
        name, dict(schema), {k: tuple(v) for k, v in splits.items()}, compression, licence="CC0"
    )
    for file, content in tfds_files(manifest).items():
        (directory / file).write_bytes(content)
    manifest.write(directory)
    return manifest


def test_tfds_reads_every_kind_of_feature(tmp_path):
    rows = [row(i) for i in range(5)]
    manifest = write(tmp_path, [stored for stored, _ in rows])
    builder = tfds.builder_from_directory(tmp_path)
    assert builder.info.name == "toy-data"
    assert builder.info.redistribution_info.license == "CC0"
    assert builder.info.features["label"].names == ["cat", "dög", "a b"]
    assert {k: v.num_examples for k, v in builder.info.splits.items()} == {"train": 5, "test": 1}
    assert builder.info.dataset_size == sum(s.bytes for v in manifest.splits.values() for s in v)
    config = tfds.ReadConfig(interleave_cycle_length=1)
    read = list(builder.as_dataset(split="train", read_config=config))
    order = [0, 2, 4, 1, 3]
    for example, i in zip(read, order, strict=True):
        expected = rows[i][1]
        assert set(example) == set(FEATURES)
        for name, value in expected.items():
            found = example[name].numpy()
            if FEATURES[name].kind == "tensor" and FEATURES[name].dtype != "string":
                assert found.dtype == value.dtype, name
            np.testing.assert_array_equal(found, value, err_msg=name)
    assert sum(1 for _ in builder.as_dataset(split="train[:40%]")) == 2


def test_class_names_that_tfds_would_change_are_not_given_to_it(tmp_path):
    schema = {"label": Feature("label", class_names=("a ", "b"))}
    files = tfds_files(write(tmp_path, [{"label": i % 2} for i in range(4)], schema=schema))
    assert set(files) == {"features.json", "dataset_info.json"}
    builder = tfds.builder_from_directory(tmp_path)
    assert builder.info.features["label"].num_classes == 2
    assert sum(int(e["label"]) for e in builder.as_dataset(split="train")) == 2


def test_gzip_has_no_promise_to_tfds_but_its_features(tmp_path):
    schema = {"x": Feature("tensor", "float64", (None, None)), "label": FEATURES["label"]}
    rows = [{"x": np.full((i, 2), 0.1), "label": i % 3} for i in range(4)]
    write(tmp_path, rows, compression="GZIP", schema=schema)
    assert not (tmp_path / "dataset_info.json").exists()
    with pytest.raises(Exception, match="Could not read dataset info"):
        tfds.builder_from_directory(tmp_path)
    features = tfds.features.FeaturesDict.from_config(tmp_path)
    files = sorted(tf.io.gfile.glob(f"{tmp_path}/toy-data-train.tfrecord-*"))
    read = tf.data.TFRecordDataset(files, compression_type="GZIP").map(features.deserialize_example)
    assert [example["x"].shape for example in read] == [(0, 2), (2, 2), (1, 2), (3, 2)]
    assert features["label"].names == ["cat", "dög", "a b"]


def test_our_side_files_read_back(tmp_path):
    manifest = write(tmp_path, [row(0)[0], row(1)[0]])
    files = tfds_files(manifest)
    schema, others = read_features(files["features.json"], files.get)
    assert list(schema.items()) == list(FEATURES.items())
    assert others == {}
    info = read_info(files["dataset_info.json"])
    assert (info.name, info.shard_records) == ("toy-data", {"train": (1, 1), "test": (1,)})
    for read in (lambda data: read_features(data, files.get), read_info):
        with pytest.raises(DataError, match=r"\.json: (damaged|TFDS cannot)"):
            read(b"{")


def test_features_of_tfds_that_a_schema_holds_and_others():
    F = tfds.features
    schema, others = schema_of(
        {
            "tokens": F.Sequence(F.Scalar(np.int32)),
            "pairs": F.Sequence(F.Tensor(shape=(2,), dtype=np.float32), length=4),
            "names": F.Sequence(F.Text()),
            "tags": F.Sequence(F.ClassLabel(num_classes=3)),
            "label": F.ClassLabel(num_classes=3),
            "box": F.BBoxFeature(),
            "float64": F.Tensor(shape=(), dtype=np.float64),
            "zlib": F.Tensor(shape=(2,), dtype=np.int32, encoding="zlib"),
            "images": F.Sequence(F.Image()),
            "nested": F.FeaturesDict({"a": F.Text()}),
            "depth": F.Image(shape=(None, None, 1), dtype=np.uint16),
        }
    )
    assert schema == {
        "tokens": Feature("tensor", "int32", (None,)),
        "pairs": Feature("tensor", "float32", (4, 2)),
        "names": Feature("tensor", "string", (None,)),
        "tags": Feature("tensor", "int64", (None,)),
        "label": Feature("label"),
        "float64": Feature("tensor", "float64", (), (), "list"),
    }
    assert set(others) == {"box", "zlib", "images", "nested", "depth"}


def test_neither_writing_nor_reading_loads_tensorflow():
    feature = json.dumps(
        json.loads(tfds_files(DatasetManifest("a", FEATURES, {"t": ()}))["features.json"])
    )
    code = f"""
import sys
from tfdml.data.format.tfds_layout import read_features, tfds_files
assert 'tensorflow_datasets' not in sys.modules
names = {{'label.labels.txt': b'a\\nb\\nc\\n'}}
schema, others = read_features({feature.encode()!r}, names.get)
assert len(schema) == {len(FEATURES)} and not others, others
sys.exit('tensorflow' in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
