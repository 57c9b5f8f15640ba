"""From Python's values, of JSON, Arrow, HDF5 or NumPy, to those of a row; a `ValueError` says why not."""

from __future__ import annotations

import base64
import binascii
import difflib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfdml.data.format.features import FLOATS, Feature
from tfdml.data.inputs.array_values import (
    check_shape,
    fit_dtype,
    kind_of,
    limits,
    numbers_or_none,
    wanted_dtype,
)
from tfdml.data.inputs.input import Value

Converter = Callable[[Any], Value]

# Texts that stand for no value in numeric columns, as R, pandas and SQL clients write them.
MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"))


def from_python(feature: Feature) -> Converter:
    """For values of JSON, Arrow, HDF5 and NumPy: numbers, str, bytes, None, (nested) lists, arrays."""
    if feature.kind == "label":
        return label_converter(feature)
    if feature.kind == "text" or (feature.dtype == "string" and not feature.shape):
        return _text_from_python
    if feature.shape or feature.dtype == "string":
        return lambda value: _array(value, feature)
    if feature.dtype == "bool":
        return _bool_from_python
    if feature.dtype in FLOATS:
        return _float_from_python
    return _integer_from_python(feature.dtype)


def _text_from_python(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError("the text has half a surrogate pair, which is no Unicode") from None
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"no UTF-8 at byte {error.start}") from None
        return data
    raise ValueError(f"{shown(value)} is no text")


def _float_from_python(value: Any) -> Value:
    if value is None:
        return math.nan
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return value
    raise ValueError(f"{shown(value)} is no number")


def _integer_from_python(dtype: str) -> Converter:
    low, high = limits(dtype)

    def convert(value: Any) -> int:
        if isinstance(value, float | np.floating) and float(value).is_integer():
            value = int(value)
        if value is None:
            raise ValueError(f"no value, and {dtype} has none for that")
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{shown(value)} is no integer")
        if not low <= value <= high:
            raise ValueError(f"{value} does not fit into {dtype}")
        return int(value)

    return convert


def _bool_from_python(value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{shown(value)} is neither true nor false")


def _array(value: Any, feature: Feature) -> np.ndarray:
    wanted = "object" if feature.dtype == "string" else feature.dtype
    try:
        found = np.asarray(value, object if feature.dtype == "string" else None)
    except ValueError:
        raise ValueError("its lists have different lengths") from None
    if feature.dtype == "string":
        found = np.frompyfunc(_text_from_python, 1, 1)(found)
        found = np.asarray(found, object)
    elif found.size == 0:
        found = found.astype(wanted_dtype(wanted))
    elif found.dtype.kind not in "biuf" and found.dtype.name != "bfloat16":
        if found.dtype == object and wanted in FLOATS and numbers_or_none(found):
            found = np.array([math.nan if v is None else v for v in found.flat]).reshape(
                found.shape
            )
        else:
            raise ValueError(f"it holds {kind_of(found)}, not numbers")
    check_shape(found.shape, feature.shape)
    return fit_dtype(found, wanted) if feature.dtype != "string" else found


def label_converter(feature: Feature) -> Converter:
    names = {name: number for number, name in enumerate(feature.class_names)}
    # With classes called 3, 5 and 8, the text "1" is no number of a class.
    texts_may_be_numbers = not any(name.isdecimal() for name in names)

    def convert(value: Any) -> int:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            if (number := names.get(value)) is not None:
                return number
            text = value.strip()
            if (number := names.get(text)) is not None:
                return number
            try:
                value = int(text if texts_may_be_numbers else "")
            except ValueError:
                raise ValueError(_unknown_class(text, feature.class_names)) from None
        if isinstance(value, float | np.floating) and float(value).is_integer():
            value = int(value)
        if isinstance(value, bool | np.bool_):
            value = int(value)
        if not isinstance(value, int | np.integer):
            raise ValueError(f"the label {shown(value)} is no integer")
        if value < 0 or (names and value >= len(names)) or value >= 2**63:
            allowed = f"0 to {len(names) - 1}" if names else "0 and up"
            raise ValueError(f"the label {value} is none of {allowed}")
        return int(value)

    return convert


def _unknown_class(text: str, names: tuple[str, ...]) -> str:
    if text in MISSING:
        return "no label"
    if not names:
        return f"the label {shown(text)} is no integer"
    near = difflib.get_close_matches(text, names, n=1)
    meant = f", perhaps {near[0]!r} is meant" if near else ""
    return f"the class {shown(text)} is none of the {len(names)} known{meant}"


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def image_bytes(value: Any) -> bytes:
    """An image inside a row: bytes, Hugging Face's {"bytes": ...}, or base64 text."""
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and value.startswith("data:") and ";base64," in value[:100]:
        try:
            return base64.b64decode(value.partition(";base64,")[2], validate=True)
        except binascii.Error:
            raise ValueError("its base64 text is damaged") from None
    if value is None:
        raise ValueError("no image")
    raise ValueError(f"{shown(value)} is no image")
