"""Values of a row -> the bytes of a `tf.train.Example`, prepared once for all rows of a schema."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfdml.data.format.features import FLOATS, Feature, Schema
from tfdml.data.format.varint import varint, varints
from tfdml.errors import DataError

# Field numbers and wire types of feature.proto, as the byte that precedes a field.
_ENTRY = _KEY = _BYTES = _VALUES = b"\x0a"
_FEATURE, _FLOATS, _INTS = b"\x12", b"\x12", b"\x1a"

_LABELS_KEPT = 65536
_FLOAT = struct.Struct("<f")

_Encode = Callable[[Any], bytes]


class Encoder:
    """Encodes rows of one schema; made once, because it prepares what all rows share."""

    def __init__(self, schema: Schema) -> None:
        self.schema = dict(schema)
        self._encoders = [(name, _encoder(name, schema[name])) for name in sorted(schema)]

    def __call__(self, values: Mapping[str, Any]) -> bytes:
        """The record of a row.

        Raises:
            DataError: for a feature that is missing, not in the schema, or of another dtype or shape.
        """
        try:
            entries = b"".join([encode(values[name]) for name, encode in self._encoders])
        except KeyError as error:
            raise DataError(
                f"The feature {error} is missing; there are {', '.join(map(repr, values))}."
            ) from None
        if len(values) != len(self._encoders):
            extra = next(name for name in values if name not in self.schema)
            raise DataError(
                f"The feature {extra!r} is not in the schema, which has "
                f"{', '.join(map(repr, self.schema))}."
            )
        return _ENTRY + varint(len(entries)) + entries


def _encoder(name: str, feature: Feature) -> _Encode:
    key = name.encode()
    key = _KEY + varint(len(key)) + key
    if feature.kind == "image":
        return _image_encoder(name, key)
    if feature.kind == "text":
        return _text_encoder(name, key)
    if feature.kind == "label":
        return _label_encoder(name, key, feature)
    if feature.encoding == "bytes":
        return _raw_encoder(name, feature)
    if feature.dtype == "string":
        return _strings_encoder(name, key, feature)
    if not feature.shape:
        return _scalar_encoder(name, key, feature)
    return _list_encoder(name, key, feature)


def _entry(key: bytes, tag: bytes, content: bytes) -> bytes:
    """One entry of the map: `content` is that of a list, `tag` says of which type."""
    inner = tag + varint(len(content)) + content
    body = key + _FEATURE + varint(len(inner)) + inner
    return _ENTRY + varint(len(body)) + body


def _bytes_entry(key: bytes, value: bytes) -> bytes:
    """As `_entry` of one bytes value, without copying the value more than once."""
    size = len(value)
    one = _VALUES + varint(size)
    size += len(one)
    inner = _BYTES + varint(size)
    size += len(inner)
    feature = key + _FEATURE + varint(size)
    return b"".join((_ENTRY, varint(size + len(feature)), feature, inner, one, value))


def _image_encoder(name: str, key: bytes) -> _Encode:
    def encode(value: bytes) -> bytes:
        if type(value) is not bytes:
            raise DataError(f"{name}: an image is the bytes of a file, got {_what(value)}.")
        return _bytes_entry(key, value)

    return encode


def _text_encoder(name: str, key: bytes) -> _Encode:
    def encode(value: bytes | str) -> bytes:
        return _bytes_entry(key, value if type(value) is bytes else _utf8(name, value))

    return encode


def _utf8(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):  # np.bytes_ too
        return bytes(value)
    raise DataError(f"{name}: a text is bytes of UTF-8 or a str, got {_what(value)}.")


def _label_encoder(name: str, key: bytes, feature: Feature) -> _Encode:
    classes = len(feature.class_names)
    known: dict[int, bytes] = {}

    def encode(value: int) -> bytes:
        entry = known.get(value) if type(value) is int else None
        if entry is not None:
            return entry
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise DataError(f"{name}: a label is an integer, got {_what(value)}.")
        number = int(value)
        if classes and not -1 <= number < classes:
            raise DataError(
                f"{name}: a label is in [0, {classes}), or -1 where it is not known, got {number}."
            )
        entry = _entry(key, _INTS, _packed_int(number))
        if len(known) < _LABELS_KEPT:
            known[number] = entry
        return entry

    return encode


def _packed_int(number: int) -> bytes:
    content = varint(number & 0xFFFFFFFFFFFFFFFF)
    return _VALUES + varint(len(content)) + content


def _scalar_encoder(name: str, key: bytes, feature: Feature) -> _Encode:
    """Of single numbers: a CSV has dozens in a row, and an array for each would be slow."""
    dtype = feature.numpy_dtype
    if feature.dtype in FLOATS:
        prefix = _entry(key, _FLOATS, _VALUES + varint(4) + bytes(4))[:-4]

        def encode_float(value: Any) -> bytes:
            try:
                if feature.dtype != "float32":  # as rounded as one in an array would be
                    value = dtype.type(value)
                return prefix + _FLOAT.pack(value)
            except (TypeError, ValueError, OverflowError, struct.error):
                raise _unfit(name, feature, value) from None

        return encode_float

    low, high = (0, 1) if feature.dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)

    def encode_int(value: Any) -> bytes:
        if not isinstance(value, int | np.integer | np.bool_):
            value = as_array(name, feature, value)  # an array of no dimensions, or an error
        number = int(value)
        if not low <= number <= high:
            raise _unfit(name, feature, value)
        return _entry(key, _INTS, _packed_int(number))

    return encode_int


def _list_encoder(name: str, key: bytes, feature: Feature) -> _Encode:
    is_float = feature.dtype in FLOATS

    def encode(value: Any) -> bytes:
        flat = as_array(name, feature, value).ravel()
        if is_float:
            content = flat.astype("<f4", copy=False).tobytes()
        elif flat.dtype == np.uint64:
            content = varints(flat.view(np.int64))
        else:
            content = varints(flat.astype(np.int64, copy=False))
        if content:  # an empty list has no values at all
            content = _VALUES + varint(len(content)) + content
        return _entry(key, _FLOATS if is_float else _INTS, content)

    return encode


def _strings_encoder(name: str, key: bytes, feature: Feature) -> _Encode:
    def encode(value: Any) -> bytes:
        array = np.asarray(value, object)
        _check_shape(name, feature, array.shape)
        texts = [_utf8(name, text) for text in array.ravel().tolist()]
        return _entry(key, _BYTES, b"".join([_VALUES + varint(len(text)) + text for text in texts]))

    return encode


def _raw_encoder(name: str, feature: Feature) -> _Encode:
    def wire_key(suffix: str) -> bytes:
        key = (name + suffix).encode()
        return _KEY + varint(len(key)) + key

    plain, shape_key, value_key = wire_key(""), wire_key("/shape"), wire_key("/value")
    stored = feature.numpy_dtype.newbyteorder("<")

    def encode(value: Any) -> bytes:
        array = as_array(name, feature, value)
        raw = array.astype(stored, copy=False).tobytes()
        if not feature.has_dynamic_shape:
            return _bytes_entry(plain, raw)
        sizes = varints(np.array(array.shape, np.int64))
        shape = _entry(shape_key, _INTS, _VALUES + varint(len(sizes)) + sizes)
        return shape + _bytes_entry(value_key, raw)

    return encode


def as_array(name: str, feature: Feature, value: Any) -> np.ndarray:
    """`value` as an array of the feature's dtype and shape; `name` is for messages.

    Raises:
        DataError: for another shape, an array of another dtype, or numbers that do not fit it.
    """
    dtype = feature.numpy_dtype
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype != dtype:
            raise DataError(
                f"{name}: the dtype is {array.dtype}, expected {feature.dtype}. Cast it."
            )
    else:
        try:
            array = np.asarray(value, dtype)
            if dtype.kind in "biu" and array.size:  # NumPy cuts 1.5 to 1 and takes "no" for True
                given = np.asarray(value).dtype.kind
                if given not in ("b" if dtype.kind == "b" else "biu"):
                    raise _unfit(name, feature, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise error if isinstance(error, DataError) else _unfit(name, feature, value) from None
    _check_shape(name, feature, array.shape)
    return array


def _check_shape(name: str, feature: Feature, shape: tuple[int, ...]) -> None:
    if shape == feature.shape:
        return
    if len(shape) != len(feature.shape) or any(
        size is not None and size != n for size, n in zip(feature.shape, shape, strict=True)
    ):
        raise DataError(f"{name}: the shape is {shape}, expected {feature.shape}.")


def _unfit(name: str, feature: Feature, value: Any) -> DataError:
    of_shape = f" of the shape {feature.shape}" if feature.shape else ""
    return DataError(f"{name}: expected {feature.dtype}{of_shape}, got {_what(value)}.")


def _what(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
