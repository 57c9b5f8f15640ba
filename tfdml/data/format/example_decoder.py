"""The bytes of a `tf.train.Example` -> values of a row, also of Examples that others wrote."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tfdml.data.format.features import INTEGERS, Feature, Schema, Shape
from tfdml.data.format.varint import read_varint, read_varints
from tfdml.errors import DataError

# Tags of feature.proto: field number * 8 + wire type. An entry of the map, its key, a list's values.
_ENTRY = _KEY = _BYTES = 0x0A
_VALUE = _FLOATS = 0x12
_INTS = 0x1A


def decode(record: bytes, schema: Schema | None = None) -> dict[str, Any]:
    """The values of a record.

    Args:
        schema: what to make of them. Without one every value is what is stored: a list of bytes, or an
            array of float32 or int64.

    Raises:
        DataError: for a record that is no Example, or does not have the schema's features.
    """
    try:
        stored = _parse(record)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"The record is no tf.train.Example ({error}).") from None
    if schema is None:
        return stored
    return {name: _value(name, feature, stored) for name, feature in schema.items()}


def _value(name: str, feature: Feature, stored: dict[str, Any]) -> Any:
    shape: Shape = feature.shape
    wire_name = name
    if feature.has_dynamic_shape:
        shape = tuple(_stored(f"{name}/shape", stored, np.int64).tolist())
        if not _is_shape_of(shape, feature.shape):
            raise DataError(f"{name}: the stored shape is {shape}, expected {feature.shape}.")
        wire_name = f"{name}/value"
    if feature.kind in ("image", "text") or feature.encoding == "bytes":
        texts = _stored(wire_name, stored, list)
        if len(texts) != 1:
            raise DataError(f"{name}: {len(texts)} values are stored, expected one.")
        if feature.encoding != "bytes":
            return texts[0]
        itemsize = feature.numpy_dtype.itemsize
        if len(texts[0]) % itemsize:
            raise DataError(f"{name}: {len(texts[0])} bytes are no array of {feature.dtype}.")
        flat = np.frombuffer(texts[0], feature.numpy_dtype.newbyteorder("<"))
    elif feature.dtype == "string":
        flat = np.array(_stored(name, stored, list) or [], object)
    elif feature.dtype in INTEGERS or feature.dtype == "bool":
        flat = _stored(name, stored, np.int64)
        flat = flat.view(np.uint64) if feature.dtype == "uint64" else flat
    else:
        flat = _stored(name, stored, np.float32)
    if not shape and len(flat) == 1:
        return int(flat[0]) if feature.kind == "label" else feature.numpy_dtype.type(flat[0])
    return flat.reshape(_sizes(name, flat.size, shape)).astype(feature.numpy_dtype, copy=False)


def _is_shape_of(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        size is not None and size >= 0 and (known is None or size == known)
        for size, known in zip(shape, expected, strict=True)
    )


def _sizes(name: str, count: int, shape: Shape) -> tuple[int, ...]:
    """`shape` with its unknown size, one at most, filled in so that it has `count` values."""
    known = prod(size for size in shape if size is not None)
    unknown = None in shape
    missing = count // known if unknown and known else 0
    if count != (known * missing if unknown else known):
        raise DataError(f"{name}: {count} values are stored, expected the shape {shape}.")
    return tuple(missing if size is None else size for size in shape)


def _stored(name: str, stored: dict[str, Any], of: type) -> Any:
    if name not in stored:
        there = ", ".join(map(repr, stored)) or "none"
        raise DataError(f"The record lacks the feature {name!r}; it has {there}.")
    value = stored[name]
    kind = list if isinstance(value, list) else value.dtype.type
    if kind is not of:
        if len(value) == 0:  # an empty list says nothing about its type
            return [] if of is list else np.zeros(0, of)
        words = {list: "bytes", np.float32: "floats", np.int64: "integers"}
        raise DataError(f"{name}: {words[kind]} are stored, expected {words[of]}.")
    return value


def _parse(record: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _, start, end in _fields(record, 0, len(record), _ENTRY):
        for _, entry, entry_end in _fields(record, start, end, _ENTRY):
            name, value = "", (0, 0)
            for tag, at, stop in _fields(record, entry, entry_end):
                if tag == _KEY:
                    name = record[at:stop].decode()
                elif tag == _VALUE:
                    value = at, stop
            values[name] = _parse_feature(record, *value)
    return values


def _parse_feature(record: bytes, start: int, end: int) -> Any:
    values: Any = []
    for tag, at, stop in _fields(record, start, end):
        if tag == _BYTES:
            values = [record[i:j] for _, i, j in _fields(record, at, stop)]
        elif tag == _FLOATS:
            parts = [np.frombuffer(record[i:j], "<f4") for _, i, j in _fields(record, at, stop)]
            values = _joined(parts, np.float32)
        elif tag == _INTS:
            # A packed field and single ones look the same from here: varints, one after the other.
            packed = [read_varints(record[i:j]) for _, i, j in _fields(record, at, stop)]
            values = _joined(packed, np.int64)
    return values


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts])


def _fields(data: bytes, position: int, end: int, expected: int | None = None):
    """Yield (tag, start, end) of the fields in data[position:end]; a tag is number * 8 + wire type."""
    while position < end:
        tag, position = read_varint(data, position)
        if expected is not None and tag != expected:
            raise ValueError(f"a field {tag >> 3} of type {tag & 7}, expected {expected >> 3} of 2")
        wire = tag & 7
        if wire == 2:
            length = data[position]
            position += 1
            if length >= 0x80:
                length, position = read_varint(data, position - 1)
            stop = position + length
        elif wire == 0:
            stop = read_varint(data, position)[1]
        elif wire in (1, 5):
            stop = position + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"a field of wire type {wire}")
        if stop > end:
            raise ValueError("it ends within a field")
        yield tag, position, stop
        position = stop
