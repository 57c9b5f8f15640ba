"""Records are tf.train.Examples: as TensorFlow's own parser reads them, and back bit for bit."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tfdml.data.format.example import decode, encode
from tfdml.data.format.features import Feature
from tfdml.data.format.varint import read_varints, varint, varints
from tfdml.errors import DataError

RANDOM = np.random.default_rng(0)

TENSORS = {
    "float32": (Feature("tensor", "float32", (2, 3)), RANDOM.normal(size=(2, 3)).astype("f4")),
    "float64": (Feature("tensor", "float64", (None,)), RANDOM.normal(size=5)),
    "float64_scalar": (Feature("tensor", "float64"), np.float64(0.1)),
    "float16": (Feature("tensor", "float16", (4,)), RANDOM.normal(size=4).astype("f2")),
    "bfloat16": (
        Feature("tensor", "bfloat16", (4,)),
        RANDOM.normal(size=4).astype(ml_dtypes.bfloat16),
    ),
    "int64": (
        Feature("tensor", "int64", (None,)),
        np.array([0, 1, -1, 127, 128, 300, 2**62, -(2**63), 2**63 - 1, 5, 7], np.int64),
    ),
    "int32": (Feature("tensor", "int32", (2, None)), np.array([[1, -2], [3, 4]], np.int32)),
    "uint64": (Feature("tensor", "uint64", (2,)), np.array([2**64 - 1, 3], np.uint64)),
    "uint64_scalar": (Feature("tensor", "uint64"), np.uint64(2**64 - 1)),
    "uint8": (Feature("tensor", "uint8", (4, 4)), np.arange(16, dtype=np.uint8).reshape(4, 4)),
    "uint8_list": (Feature("tensor", "uint8", (300,), (), "list"), np.arange(300).astype("u1")),
    "bool": (Feature("tensor", "bool", (3,)), np.array([True, False, True])),
    "bool_scalar": (Feature("tensor", "bool"), np.bool_(True)),
    "empty": (Feature("tensor", "float32", (None, 3)), np.zeros((0, 3), np.float32)),
    "dynamic": (Feature("tensor", "int16", (None, 2, None)), np.ones((3, 2, 5), np.int16)),
    "dynamic_empty": (Feature("tensor", "float32", (None, None)), np.zeros((0, 5), np.float32)),
    "scalar": (Feature("tensor", "float32"), np.float32(1.1)),
    "negative": (Feature("tensor", "int8"), np.int8(-5)),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_come_back_bit_for_bit(case):
    feature, value = TENSORS[case]
    back = decode(encode({"x": value}, {"x": feature}), {"x": feature})["x"]
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    assert back.tobytes() == value.tobytes()


def test_images_labels_texts_and_strings():
    schema = {
        "text": Feature("text"),
        "label": Feature("label", class_names=("a", "b")),
        "image": Feature("image", shape=(None, None, 3), encoding="png"),
        "words": Feature("tensor", "string", (None,)),
    }
    values = {"image": b"\x00\xff" * 100, "label": 1, "text": "Ünï".encode(), "words": ["x", b"y"]}
    record = encode(values, schema)
    back = decode(record, schema)
    assert list(back) == list(schema)
    assert back.pop("words").tolist() == [b"x", b"y"]
    assert back == {k: v for k, v in values.items() if k != "words"}
    assert encode(dict(reversed(values.items())), dict(reversed(schema.items()))) == record
    assert encode(values | {"text": "Ünï"}, schema) == record
    assert list(decode(record)) == sorted(schema)


@pytest.mark.parametrize("size", [0, 1, 3, 8, 9, 100, 20_000])
def test_tensorflow_reads_the_same_and_writes_what_we_read(size):
    schema = {
        "ints": Feature("tensor", "int64", (size,)),
        "floats": Feature("tensor", "float32", (size,)),
        "raw": Feature("image", shape=(1, 1, 1), encoding="png"),
    }
    values = {
        "ints": RANDOM.integers(-(2**63), 2**63 - 1, size) >> RANDOM.integers(0, 64, size),
        "floats": RANDOM.normal(size=size).astype(np.float32),
        "raw": RANDOM.bytes(size),
    }
    record = encode(values, schema)
    theirs = tf.train.Example.FromString(record)
    features = theirs.features.feature
    assert list(features["ints"].int64_list.value) == values["ints"].tolist()
    assert list(features["floats"].float_list.value) == values["floats"].tolist()
    assert features["raw"].bytes_list.value == [values["raw"]]
    assert theirs.SerializeToString(deterministic=True) == record
    for written in (theirs.SerializeToString(), record):
        back = decode(written, schema)
        assert back["raw"] == values["raw"]
        np.testing.assert_array_equal(back["ints"], values["ints"])
        np.testing.assert_array_equal(back["floats"], values["floats"])
    parsed = tf.io.parse_single_example(
        record,
        {
            "ints": tf.io.FixedLenFeature([size], "int64"),
            "raw": tf.io.FixedLenFeature([], "string"),
        },
    )
    np.testing.assert_array_equal(parsed["ints"], values["ints"])


def test_lists_that_are_not_packed_are_read_too():
    # repeated fields as a writer of proto2 has them: {"a": int64_list {1, 300}, "b": float_list {1}}
    record = bytes.fromhex(
        "0a1c 0a0c 0a0161 1207 1a05 0801 08ac02 0a0c 0a0162 1207 1205 0d0000803f"
    )
    theirs = tf.train.Example.FromString(record).features.feature
    assert list(theirs["a"].int64_list.value) == [1, 300]
    back = decode(record)
    assert back["a"].tolist() == [1, 300]
    assert back["b"].tolist() == list(theirs["b"].float_list.value) == [1.0]


def test_varints():
    for bits in range(65):
        number = (1 << bits) - 1
        assert read_varints(varint(number)).view(np.uint64).tolist() == [number]
        many = np.array([number, 0, 1] * 10, np.uint64).view(np.int64)
        assert varints(many) == b"".join(varint(n) for n in many.view(np.uint64).tolist())
        assert read_varints(varints(many)).tolist() == many.tolist()
    with pytest.raises(ValueError, match="ends within"):
        read_varints(b"\x01\x80")
    with pytest.raises(ValueError, match="more than 10"):
        read_varints(b"\x80" * 10 + b"\x01")


@pytest.mark.parametrize(
    ("feature", "value", "message"),
    [
        (Feature("label", class_names=("a", "b")), 2, r"label is in \[0, 2\), or -1 .* got 2"),
        (Feature("label"), "cat", r"is an integer, got 'cat' \(str\)"),
        (Feature("label"), True, "is an integer, got True"),
        (Feature("text"), 3, "bytes of UTF-8 or a str, got 3"),
        (Feature("image", shape=(1, 1, 3), encoding="png"), "x.png", "bytes of a file"),
        (Feature("tensor", "float32", (3,)), [1.0, 2.0], r"the shape is \(2,\), expected \(3,\)"),
        (Feature("tensor", "float32", (1,)), np.zeros(1), "dtype is float64, expected float32"),
        (Feature("tensor", "int8"), 128, r"expected int8, got 128 \(int\)"),
        (Feature("tensor", "int8", (2,)), [1, 128], r"expected int8 of the shape \(2,\), got \[1,"),
        (Feature("tensor", "float32"), "one", "expected float32, got 'one'"),
        (Feature("tensor", "int64"), 1.5, "expected int64, got 1.5"),
        (Feature("tensor", "int64"), np.float64(1.5), "dtype is float64, expected int64"),
        (Feature("tensor", "int64", (2,)), [1, 1.5], r"expected int64 .* got \[1, 1.5\]"),
        (Feature("tensor", "bool", (1,)), ["no"], "expected bool"),
        (Feature("tensor", "int64"), np.zeros(2, np.int64), r"shape is \(2,\), expected \(\)"),
    ],
)
def test_a_value_that_does_not_fit_is_named(feature, value, message):
    with pytest.raises(DataError, match=f"^x: .*{message}"):
        encode({"x": value}, {"x": feature})


def test_features_that_are_missing_or_too_many():
    schema = {"a": Feature("text"), "b": Feature("text")}
    with pytest.raises(DataError, match="feature 'b' is missing; there are 'a'"):
        encode({"a": b""}, schema)
    with pytest.raises(DataError, match="'c' is not in the schema, which has 'a', 'b'"):
        encode({"a": b"", "b": b"", "c": b""}, schema)
    record = encode({"a": b"", "b": b""}, schema)
    with pytest.raises(DataError, match="lacks the feature 'c'; it has 'a', 'b'"):
        decode(record, {"c": Feature("text")})
    with pytest.raises(DataError, match="a: bytes are stored, expected integers"):
        decode(record, {"a": Feature("label")})
    for record in (b"\x0a\x05\x0a", b"hello world", b"\xff" * 20):
        with pytest.raises(DataError, match=r"no tf\.train\.Example"):
            decode(record)


@pytest.mark.parametrize("shape", [(-1, -6), (6,), (1, 2, 3), (2, 4)])
def test_a_stored_shape_that_cannot_be(shape):
    stored = {
        "x/shape": Feature("tensor", "int64", (None,)),
        "x/value": Feature("tensor", "float32", (6,), (), "bytes"),
    }
    values = {"x/shape": np.array(shape), "x/value": np.zeros(6, np.float32)}
    record = encode(values, stored)
    with pytest.raises(DataError, match=r"^x: "):
        decode(record, {"x": Feature("tensor", "float32", (None, None))})


def test_no_tensorflow_is_needed():
    code = (
        "import sys, ml_dtypes, tfdml.data.format.example, tfdml.data.format.index;"
        "import tfdml.data.format.dataset_manifest;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
