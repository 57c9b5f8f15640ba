"""Every input format through the converter and back: an independent reader reads what went in, and TensorFlow
and TFDS read what came out."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfdml.data.checks.verify import plan_verify, verify
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import convert
from tfdml.data.conversion.splits import Splits
from tfdml.data.format.features import Feature
from tfdml.data.inputs.input import open_input
from tfdml.data.inputs.options import InputOptions
from tfdml.data.stages.from_flags import stages_from_flags

pytestmark = pytest.mark.slow

N = 60
GENERATOR = np.random.default_rng(3)


class Case(NamedTuple):
    """What is converted, and what an independent reader reads of it.

    Attributes:
        expected: row name -> feature -> value; images as pixels.
        name: from the values of a row to its name.
    """

    format: str
    pattern: Path | str
    options: dict
    expected: dict
    name: str = "id"


def csv_case(directory: Path) -> Case:
    cities = ["Köln", 'the "big" one', "a,b", "two\nlines", "", "end\r\n of line"]
    with (directory / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "x", "ok", "city", "kind"])
        for n in range(N):
            x = "" if n % 7 == 0 else repr(float(GENERATOR.normal()))
            writer.writerow([n - 5, x, n % 2 == 0, cities[n % 6], ["cat", "dog", "owl"][n % 3]])
    with (directory / "t.csv").open(newline="", encoding="utf-8") as file:
        expected = {
            int(row["id"]): {
                "id": int(row["id"]),
                "x": np.float32(row["x"] or math.nan),
                "ok": row["ok"] == "True",
                "city": row["city"].encode(),
                "kind": ["cat", "dog", "owl"].index(row["kind"]),
            }
            for row in csv.DictReader(file)
        }
    return Case("csv", directory / "t.csv", {"label": "kind"}, expected)


def jsonl_case(directory: Path) -> Case:
    rows = [
        {
            "id": n,
            "x": float(GENERATOR.normal()),
            "text": f"Zeile {n} ü\n\U0001f600",
            "matrix": GENERATOR.normal(size=(2, 3)).round(3).tolist(),
            "tags": ["a", "ö"][: n % 3],
        }
        for n in range(N)
    ]
    (directory / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = {}
    for line in (directory / "t.jsonl").read_text().splitlines():
        row = json.loads(line)
        expected[row["id"]] = {
            **row,
            "x": np.float32(row["x"]),
            "text": row["text"].encode(),
            "matrix": np.array(row["matrix"], np.float32),
            "tags": [tag.encode() for tag in row["tags"]],
        }
    return Case("jsonl", directory / "t.jsonl", {}, expected)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def parquet_case(directory: Path) -> Case:
    images = GENERATOR.integers(0, 255, (N, 5, 4, 3), np.uint8)
    table = pa.table(
        {
            "id": pa.array(range(N), pa.int32()),
            "double": GENERATOR.normal(size=N),
            "half": GENERATOR.normal(size=N).astype(np.float16),
            "bytes": pa.array(GENERATOR.integers(0, 255, (N, 3)).tolist(), pa.list_(pa.uint8(), 3)),
            "ragged": pa.array([list(range(n % 4)) for n in range(N)], pa.list_(pa.int64())),
            "big": pa.array([2**63 + n for n in range(N)], pa.uint64()),
            "image": [png(image) for image in images],
            "word": pa.array([f"w{n % 5}" for n in range(N)]).dictionary_encode(),
        }
    )
    pq.write_table(table, directory / "t.parquet", row_group_size=7)
    expected = {}
    for row in pq.read_table(directory / "t.parquet").to_pylist():
        expected[row["id"]] = {
            **row,
            "bytes": np.array(row["bytes"], np.uint8),
            "word": row["word"].encode(),
            "image": pixels_of(row["image"]),
        }
    return Case("parquet", directory / "t.parquet", {}, expected)


def hdf5_case(directory: Path) -> Case:
    with h5py.File(directory / "t.h5", "w") as file:
        file["id"] = np.arange(N)
        file.create_dataset(
            "x", data=GENERATOR.normal(size=(N, 2, 3)), chunks=(8, 2, 3), compression="gzip"
        )
        file["words"] = [f"ü{n}" for n in range(N)]
        file["pixels"] = GENERATOR.integers(0, 255, (N, 4, 4, 1), np.uint8)
        file["y"] = np.arange(N) % 4
    with h5py.File(directory / "t.h5") as file:
        arrays = {name: file[name][:] for name in file}
    expected = {
        int(arrays["id"][n]): {name: array[n] for name, array in arrays.items()} for n in range(N)
    }
    return Case("hdf5", directory / "t.h5", {"label": "y", "features": ("pixels:image",)}, expected)


def numpy_case(directory: Path) -> Case:
    np.savez_compressed(
        directory / "t.npz",
        id=np.arange(N),
        x=GENERATOR.normal(size=(N, 4)).astype(np.float32),
        u=GENERATOR.integers(0, 2**32, N, np.uint32),
        flag=GENERATOR.integers(0, 2, (N, 2)).astype(bool),
        name=[f"n{n}" for n in range(N)],
    )
    loaded = np.load(directory / "t.npz")
    expected = {n: {name: loaded[name][n] for name in loaded} for n in range(N)}
    for row in expected.values():
        row["name"] = str(row["name"]).encode()
    return Case("numpy", directory / "t.npz", {}, expected)


def text_case(directory: Path) -> Case:
    for n in range(N):
        (directory / f"{n}.txt").write_bytes(f"Dokument {n}\nzweite Zeile ü\r\n".encode())
    expected = {}
    for file in directory.glob("*.txt"):
        expected[file.read_bytes()] = {"text": file.read_bytes()}
    return Case("text", directory, {}, expected, "text")


def lines_case(directory: Path) -> Case:
    (directory / "t.txt").write_text("".join(f"Zeile {n} ü\n" for n in range(N)))
    lines = (directory / "t.txt").read_text().splitlines()
    expected = {line.encode(): {"text": line.encode()} for line in lines}
    return Case("text", directory / "t.txt", {"documents": "line"}, expected, "text")


def image_folder_case(directory: Path) -> Case:
    expected = {}
    for n in range(N):
        name = f"{'cat' if n % 3 else 'dog'}/{n}.png"
        (directory / name).parent.mkdir(exist_ok=True)
        pixels = GENERATOR.integers(0, 255, (4 + n % 2, 5, 3), np.uint8)
        (directory / name).write_bytes(png(pixels))
    for file in sorted(directory.glob("*/*.png")):
        name = file.relative_to(directory).as_posix().encode()
        expected[name] = {
            "image": pixels_of(file.read_bytes()),
            "label": ["cat", "dog"].index(file.parent.name),
            "file_name": name,
        }
    select = {"select": ("image", "label", "file_name")}
    return Case("image_folder", f"{directory}/*/*.png", select, expected, "file_name")


def tfrecord_case(directory: Path, compression: str = "") -> Case:
    import tensorflow as tf

    path = str(directory / "train-00000-of-00001.tfrecord")
    with tf.io.TFRecordWriter(path, compression) as writer:
        for n in range(N):
            example = tf.train.Example()
            feature = example.features.feature
            feature["id"].int64_list.value.append(n)
            feature["x"].float_list.value.extend(GENERATOR.normal(size=3))
            feature["image/encoded"].bytes_list.value.append(png(np.full((2, 2, 3), n, np.uint8)))
            feature["image/class/label"].int64_list.value.append(n % 5)
            feature["many"].int64_list.value.extend(range(n % 3))
            writer.write(example.SerializeToString())
    expected = {}
    for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        expected[feature["id"].int64_list.value[0]] = {
            "id": feature["id"].int64_list.value[0],
            "x": np.array(feature["x"].float_list.value, np.float32),
            "image": pixels_of(feature["image/encoded"].bytes_list.value[0]),
            "label": feature["image/class/label"].int64_list.value[0],
            "many": np.array(feature["many"].int64_list.value, np.int64),
        }
    return Case("tfrecord", path, {}, expected)


def gzip_case(directory: Path) -> Case:
    return tfrecord_case(directory, "GZIP")


def tfds_case(directory: Path) -> Case:
    import tensorflow_datasets as tfds

    examples = [
        {"id": n, "image": GENERATOR.integers(0, 255, (3, 3, 1), np.uint8), "label": n % 2}
        for n in range(N)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="small_images",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "id": np.int64,
                "image": tfds.features.Image(shape=(3, 3, 1)),
                "label": tfds.features.ClassLabel(names=["no", "yes"]),
            }
        ),
        split_datasets={"train": list(enumerate(examples))},
        data_dir=str(directory),
    )
    loaded = tfds.as_numpy(tfds.load("small_images", split="train", data_dir=str(directory)))
    expected = {int(example["id"]): example for example in loaded}
    return Case("tfds", "small_images", {"data_dir": str(directory)}, expected)


def digits_case(directory: Path) -> Case:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    expected: dict = {}
    for image, label in zip(bunch.images, bunch.target, strict=True):
        pixels = np.rint(image * 255 / 16).astype(np.uint8)[..., np.newaxis]
        expected[pixels.tobytes()] = {"image": pixels, "label": label}
    return Case("digits", "", {}, expected, "image")


CASES = {
    "csv": csv_case,
    "jsonl": jsonl_case,
    "parquet": parquet_case,
    "hdf5": hdf5_case,
    "numpy": numpy_case,
    "text": text_case,
    "lines": lines_case,
    "image_folder": image_folder_case,
    "tfrecord": tfrecord_case,
    "gzip": gzip_case,
    "tfds": tfds_case,
    "digits": digits_case,
}


@pytest.mark.parametrize("case", CASES)
def test_round_trip(tmp_path, case):
    (tmp_path / "in").mkdir()
    given = CASES[case](tmp_path / "in")
    source = open_input(
        given.format, [str(given.pattern)] if given.pattern else [], InputOptions(**given.options)
    )
    out = tmp_path / "out"
    result = convert(
        Conversion(
            source,
            str(out),
            "set",
            splits=Splits({"train": 0.7, "test": 0.3}),
            num_shards=3,
        ),
        num_processes=2,
    )
    assert sum(result.manifest.num_records(split) for split in ("train", "test")) >= len(
        given.expected
    )
    assert verify(plan_verify(out, full=True)).findings == ()
    check(given, read_with_tfds(out))
    check(given, read_with_tensorflow(out, result.manifest.schema))


def test_stages(tmp_path):
    """Statistics and vocabularies over all rows, whatever the fragments; sizes by Pillow."""
    pixels = GENERATOR.integers(0, 255, (N, 8, 8, 3), np.uint8)
    x = GENERATOR.normal(5, 3, (N, 2)).astype(np.float32)
    words = [f"w{n % 5}" if n % 4 else "often" for n in range(N)]
    table = pa.table(
        {"id": list(range(N)), "x": x.tolist(), "word": words, "image": [png(p) for p in pixels]}
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=7)
    flags = {
        "resize": ["image:4x6"],
        "normalise": ["x:each"],
        "cast": ["x:float16"],
        "vocabulary": ["word:2"],
    }
    source = open_input("parquet", [str(tmp_path / "t.parquet")], InputOptions(reencode=True))
    stages = tuple(stages_from_flags(flags))
    convert(Conversion(source, str(tmp_path / "out"), "set", stages), num_processes=2)
    wanted = ((x - x.mean(0)) / x.std(0)).astype(np.float16)
    vocabulary = (tmp_path / "out" / "vocabulary-word.txt").read_text().split()
    assert vocabulary == ["often", "w0"]  # of equal count, the first in the alphabet
    for row in read_with_tfds(tmp_path / "out", "train"):
        n = row["id"]
        assert row["x"].dtype == np.float16
        np.testing.assert_allclose(row["x"], wanted[n], rtol=2e-3)
        number = row["word"]
        assert number == (vocabulary.index(words[n]) + 1 if words[n] in vocabulary else 0)
        small = Image.fromarray(pixels[n]).resize((6, 4), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(row["image"], np.asarray(small))


def test_packed_text(tmp_path):
    """Every byte of every document is there once, with an end behind it."""
    texts = [f"Dokument {n} ".encode() * (n % 7) + b"." for n in range(N)]
    for n, text in enumerate(texts):
        (tmp_path / f"{n}.txt").write_bytes(text)
    flags = {"tokenize": ["text:bytes"], "pack_length": 64, "pack_segments": True}
    source = open_input("text", [str(tmp_path)], InputOptions())
    stages = tuple(stages_from_flags(flags))
    splits = Splits({"train": 0.7, "test": 0.3})
    convert(
        Conversion(
            source, str(tmp_path / "out"), "set", stages, splits, num_shards=1, shuffle=False
        )
    )
    found = []
    for split in ("train", "test"):
        rows = read_with_tfds(tmp_path / "out", split)
        assert {row["text"].shape for row in rows} == {(64,)}
        tokens = np.concatenate([row["text"] for row in rows])
        assert len(rows) == math.ceil((tokens != 0).sum() / 64)
        for row in rows:
            np.testing.assert_array_equal(row["segment_ids"] > 0, row["text"] != 0)
        document: list[int] = []
        for token in tokens[tokens != 0]:
            if token == 1:
                found.append(bytes(document))
                document = []
            else:
                document.append(int(token) - 3)
        assert document == []
    assert sorted(found) == sorted(texts)


def check(given: Case, rows: list[dict]) -> None:
    seen = set()
    for row in rows:
        name = row[given.name]
        name = name.tobytes() if given.name == "image" else name
        name = name if isinstance(name, bytes) else int(name)
        seen.add(name)
        expected = given.expected[name]
        assert set(row) == set(expected)
        for feature, value in expected.items():
            np.testing.assert_array_equal(row[feature], value, err_msg=f"{name}: {feature}")
            if isinstance(value, np.ndarray):
                assert np.asarray(row[feature]).dtype == value.dtype
    assert seen == set(given.expected)


def read_with_tfds(directory: Path, split: str = "train+test") -> list[dict]:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(directory))
    return list(tfds.as_numpy(builder.as_dataset(split=split)))


def read_with_tensorflow(directory: Path, schema: dict[str, Feature]) -> list[dict]:
    import tensorflow as tf

    shards = sorted(map(str, directory.glob("set-*.tfrecord-*")))
    specs = {name: spec_of(feature) for name, feature in schema.items()}
    rows = []
    for record in tf.data.TFRecordDataset(shards):
        parsed = tf.io.parse_single_example(record, specs)
        rows.append({name: value_of(schema[name], parsed[name]) for name in schema})
    return rows


def spec_of(feature: Feature):
    """What a user would write by hand for such a feature."""
    import tensorflow as tf

    if feature.kind in ("image", "text") or feature.encoding == "bytes":
        return tf.io.FixedLenFeature([], tf.string)
    dtype = {"string": tf.string, "float16": tf.float32, "float32": tf.float32}.get(
        feature.dtype, tf.int64
    )
    if None in feature.shape:
        return tf.io.RaggedFeature(dtype)
    return tf.io.FixedLenFeature(feature.shape, dtype)


def value_of(feature: Feature, value):
    import tensorflow as tf

    if feature.kind == "image":
        return tf.io.decode_image(value, channels=feature.shape[2], expand_animations=False).numpy()
    if feature.encoding == "bytes":
        flat = tf.io.decode_raw(value, feature.dtype)
        return tf.reshape(flat, [-1 if n is None else n for n in feature.shape]).numpy()
    if feature.dtype == "string":
        return value.numpy()
    array = value.numpy()
    return array.view(np.uint64) if feature.dtype == "uint64" else array.astype(feature.dtype)
