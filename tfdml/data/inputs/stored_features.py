"""What the features of TFRecords are that come without a schema, by looking at some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.array_values import check_shape, fit_dtype
from tfdml.data.inputs.columns import Declared
from tfdml.data.inputs.images import image_feature, read_header
from tfdml.data.inputs.values import from_python
from tfdml.errors import DataError

_LABELS = ("label", "image/class/label")
_IMAGE_STARTS = (b"\x89PNG\r\n", b"\xff\xd8\xff")

Convert = Callable[[Any], Any]
Stored = dict[str, Any]  # name -> list of bytes, float32 [n] or int64 [n]


def infer(
    examples: Iterable[Stored],
    said: dict[str, Declared],
    class_names: tuple[str, ...],
    image_shape: str,
    where: str,
) -> Schema:
    """Stored name -> feature.

    Raises:
        DataError: for features that are of two types, or empty everywhere.
    """
    values: dict[str, list[Any]] = {}
    for example in examples:
        for name, value in example.items():
            values.setdefault(name, []).append(value)
    schema: Schema = {}
    for name in sorted(values):
        there = [value for value in values[name] if len(value)]
        kinds = {_kind(value) for value in there}
        if len(kinds) != 1:
            what = " and ".join(sorted(kinds)) or "nothing"
            raise DataError(
                f"{where}: the feature {name!r} holds {what} in the records looked at. Leave it out with "
                f"--drop={name}."
            )
        schema[name] = _feature(
            name, kinds.pop(), there, values[name], said.get(name), class_names, image_shape
        )
    return schema


def _feature(
    name: str,
    kind: str,
    there: list[Any],
    values: list[Any],
    said: Declared | None,
    class_names: tuple[str, ...],
    image_shape: str,
) -> Feature:
    lengths = {len(value) for value in values}
    shape: tuple[int | None, ...] = ()
    if lengths != {1}:
        shape = (lengths.pop() if len(lengths) == 1 else None,)
    if said is not None and said.kind == "tensor":
        return Feature("tensor", said.dtype, shape if said.shape is None else said.shape)
    if said is not None and said.kind == "text":
        return Feature("text")
    if said is not None and said.kind == "label":
        return Feature("label", class_names=class_names)
    if kind == "bytes" and not shape:
        images = [value[0] for value in there if value[0].startswith(_IMAGE_STARTS)]
        if said is not None or len(images) == len(there):
            return image_feature(map(read_header, images), image_shape)
        texts = all(_is_text(value[0]) for value in there)
        return Feature("text") if texts else Feature("tensor", "string")
    if kind == "integers" and not shape and name in _LABELS:
        return Feature("label", class_names=class_names)
    dtype = {"bytes": "string", "integers": "int64", "floats": "float32"}[kind]
    return Feature("tensor", dtype, shape)


def converter(feature: Feature) -> Convert:
    """From what is stored to the value of a feature; ValueError says why not."""
    convert = from_python(feature) if feature.kind != "image" else bytes

    def scalar(value: Any) -> Any:
        if len(value) != 1:
            raise ValueError(f"{len(value)} values, there should be one")
        return convert(value[0].item() if isinstance(value, np.ndarray) else value[0])

    def array(value: Any) -> np.ndarray:
        if isinstance(value, list) and feature.dtype != "string":
            value = np.frombuffer(b"".join(value), feature.numpy_dtype.newbyteorder("<"))
        elif isinstance(value, list):
            value = np.array(value, object)
        sizes = [-1 if size is None else size for size in feature.shape]
        try:
            value = value.reshape(sizes)
        except ValueError:
            check_shape(value.shape, feature.shape)
            raise
        return value if feature.dtype == "string" else fit_dtype(value, feature.dtype)

    if not feature.shape and feature.dtype == "string" and feature.kind == "tensor":
        convert = bytes
    return array if feature.kind == "tensor" and feature.shape else scalar


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "bytes"
    return "integers" if value.dtype.kind == "i" else "floats"


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
