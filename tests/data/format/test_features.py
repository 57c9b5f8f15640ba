"""What a feature may be, how its record stores it, and what is said of one that cannot be."""

from __future__ import annotations

import pytest

from tfdml.data.format.features import Feature, label_feature, make_schema
from tfdml.errors import DataError


@pytest.mark.parametrize(
    ("dtype", "shape", "encoding"),
    [
        ("float32", (3,), "list"),
        ("int64", (), "list"),
        ("bool", (None, 2), "list"),
        ("uint8", (28, 28), "bytes"),
        ("uint8", (), "list"),
        ("float64", (), "bytes"),
        ("float32", (None, None), "bytes"),
        ("string", (None,), "list"),
    ],
)
def test_a_tensor_is_stored_so_that_nothing_is_lost(dtype, shape, encoding):
    assert Feature("tensor", dtype, shape).encoding == encoding


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "audio"}, "image, label, text, tensor, got 'audio'"),
        ({"kind": "label", "dtype": "int32"}, "label is int64, got int32"),
        ({"kind": "image", "shape": (8, 8), "encoding": "png"}, r"got \(8, 8\)"),
        ({"kind": "image", "shape": (8, 8, 3)}, "png or jpeg, got ''"),
        ({"kind": "image", "shape": (8, 8, 4), "encoding": "jpeg"}, "1 or 3 channels, got 4"),
        ({"kind": "label", "class_names": ("a", "b", "a")}, "'a' twice"),
        ({"kind": "text", "shape": (3,)}, r"neither shape nor encoding, got \(3,\)"),
        ({"kind": "tensor", "dtype": "complex64"}, "float64, string, got 'complex64'"),
        ({"kind": "tensor", "shape": (-1,)}, r"None for unknown ones, got \(-1,\)"),
        ({"kind": "tensor", "shape": (None, None), "encoding": "list"}, "cannot be a list"),
        ({"kind": "tensor", "dtype": "uint32", "shape": (None, None)}, "Cast it to int64"),
        ({"kind": "tensor", "class_names": ("a",)}, "Only a label has class names"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Feature(**arguments)


def test_json_round_trip():
    for feature in (
        Feature("image", shape=(None, 28, 1), encoding="png"),
        Feature("label", class_names=("cat", "dog")),
        Feature("tensor", "float64", (None, None)),
        Feature("text"),
    ):
        assert Feature.from_json(feature.to_json()) == feature
    assert Feature("text").to_json() == {"kind": "text", "dtype": "string"}


def test_names_of_a_schema():
    text = Feature("text")
    with pytest.raises(DataError, match="Two features have the name 'a'"):
        make_schema([("a", text), ("b", text), ("a", text)])
    for name in ("", "a/b", "a\n"):
        with pytest.raises(DataError, match="neither slashes nor control"):
            make_schema([(name, text)])
    with pytest.raises(DataError, match="at least one feature"):
        make_schema([])
    schema = make_schema([("z", text), ("l", Feature("label")), ("m", Feature("label"))])
    assert list(schema) == ["z", "l", "m"]
    assert label_feature(schema) == "l"
    assert label_feature({"z": text}) is None
