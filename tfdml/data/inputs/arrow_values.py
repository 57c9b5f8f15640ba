"""Columns of Arrow as features: their types, and their values by row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from tfdml.data.inputs import columns as table
from tfdml.errors import DataError

_AS_BINARY = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}


def class_names_of(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Column -> names of its classes, as the `datasets` package of Hugging Face writes them into a file."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        features = about["info"]["features"]
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError):
        return {}


def tensor_of(
    kind: pa.DataType, name: str, where: str, sample: list[Any]
) -> tuple[str, tuple[int | None, ...]]:
    """NumPy's name of the innermost type, and the shape that lists around it make."""
    depth = 0
    while (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        kind, depth = kind.value_type, depth + 1
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        dtype = "bool"
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        dtype = str(np.dtype(kind.to_pandas_dtype()))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_binary(kind):
        dtype = "string"
    else:
        raise DataError(
            f"{where}: the column {name!r} is of the type {kind}, which is no feature. Leave it out with "
            f"--drop={name}, or write it as a number or text."
        )
    if not depth:
        return dtype, ()
    try:
        shapes = [_shape(value) for value in sample]
        shape = table.common_shape(shapes, name) if shapes else (None,) * depth
    except ValueError as error:
        raise DataError(
            f"{where}: the column {name!r}: {error}. Leave it out with --drop={name}."
        ) from None
    if len(shape) < depth:  # all lists looked at are empty
        shape = (None,) * depth
    return dtype, shape


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | np.ndarray):
        return ()
    shapes = {_shape(each) for each in value} if isinstance(value, list) else {value.shape[1:]}
    if len(shapes) > 1:
        raise ValueError("its lists have different lengths")
    return (len(value), *next(iter(shapes), ()))


def values_of(column: pa.Array) -> Any:
    """A column's values, by row number: NumPy numbers where none is null, else Python values."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count == 0 and pa.types.is_fixed_size_list(column.type):
        inner, sizes = column, []
        while pa.types.is_fixed_size_list(inner.type):
            sizes.append(inner.type.list_size)
            inner = inner.flatten()
        if inner.null_count == 0 and (
            pa.types.is_integer(inner.type) or pa.types.is_floating(inner.type)
        ):
            return inner.to_numpy(zero_copy_only=False).reshape(len(column), *sizes)
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise
        return column.view(_AS_BINARY[column.type]).to_pylist()  # rows are then told apart


def is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def holds_images(values: list[Any]) -> bool:
    """Whether binary values are PNG or JPEG files; Hugging Face puts them into {"bytes", "path"}."""
    first = values[0] if values else None
    if isinstance(first, dict):
        first = first.get("bytes") if first.keys() == {"bytes", "path"} else None
    return isinstance(first, bytes) and first.startswith((b"\x89PNG", b"\xff\xd8\xff"))


def bytes_of(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)
