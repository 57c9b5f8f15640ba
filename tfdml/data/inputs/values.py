"""From what a file holds (text, JSON or Arrow values) to the values of a row; a `ValueError` says why not."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tfdml.data.features import FLOATS, INTEGERS, Feature
from tfdml.data.inputs.input import Value

Converter = Callable[[Any], Value]

# Texts that stand for no value in numeric columns, as R, pandas and SQL clients write them.
MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"))
_TRUE, _FALSE = (
    frozenset(("true", "True", "TRUE", "1")),
    frozenset(("false", "False", "FALSE", "0")),
)
_BETWEEN_NUMBERS = re.compile(r"[\s,;]+")


def from_text(feature: Feature) -> Converter:
    """For fields that are text (CSV)."""
    if feature.kind == "label":
        return _label(feature)
    if feature.kind == "text" or (feature.dtype == "string" and not feature.shape):
        return lambda text: text.encode()
    if feature.kind == "image":
        raise TypeError("images are read by `image_column`")
    if feature.shape:
        array = from_python(feature)
        return lambda text: array(_list_of_numbers(text))
    if feature.dtype == "bool":
        return _bool_from_text
    if feature.dtype in FLOATS:
        return _float_from_text
    return _integer_from_text(feature.dtype)


def from_python(feature: Feature) -> Converter:
    """For values of JSON, Arrow, HDF5 and NumPy: numbers, str, bytes, None, (nested) lists, arrays."""
    if feature.kind == "label":
        return _label(feature)
    if feature.kind == "text" or (feature.dtype == "string" and not feature.shape):
        return _text_from_python
    if feature.shape or feature.dtype == "string":
        return lambda value: _array(value, feature)
    if feature.dtype == "bool":
        return _bool_from_python
    if feature.dtype in FLOATS:
        return _float_from_python
    return _integer_from_python(feature.dtype)


def _list_of_numbers(text: str) -> Any:
    text = text.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return [_number(part) for part in _BETWEEN_NUMBERS.split(text.strip("[]() ")) if part]


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{_shown(text)} is no number") from None


def _float_from_text(text: str) -> float:
    try:
        return float(_strict(text))
    except ValueError:
        if text.strip() in MISSING:
            return math.nan
        raise ValueError(f"{_shown(text)} is no number") from None


def _integer_from_text(dtype: str) -> Converter:
    low, high = _limits(dtype)

    def convert(text: str) -> int:
        try:
            value = int(_strict(text))
        except ValueError:
            if text.strip() in MISSING:
                raise ValueError(f"no value, and {dtype} has none for that") from None
            raise ValueError(f"{_shown(text)} is no integer") from None
        if not low <= value <= high:
            raise ValueError(f"{_shown(text)} does not fit into {dtype}")
        return value

    return convert


def _strict(text: str) -> str:
    if "_" in text:  # Python reads 1_000
        raise ValueError
    return text


def _bool_from_text(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{_shown(text)} is neither true nor false")


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
    raise ValueError(f"{_shown(value)} is no text")


def _float_from_python(value: Any) -> Value:
    if value is None:
        return math.nan
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return value
    raise ValueError(f"{_shown(value)} is no number")


def _integer_from_python(dtype: str) -> Converter:
    low, high = _limits(dtype)

    def convert(value: Any) -> int:
        if isinstance(value, float | np.floating) and float(value).is_integer():
            value = int(value)
        if value is None:
            raise ValueError(f"no value, and {dtype} has none for that")
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{_shown(value)} is no integer")
        if not low <= value <= high:
            raise ValueError(f"{value} does not fit into {dtype}")
        return int(value)

    return convert


def _bool_from_python(value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{_shown(value)} is neither true nor false")


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
        if found.dtype == object and wanted in FLOATS and _numbers_or_none(found):
            found = np.array([math.nan if v is None else v for v in found.flat]).reshape(
                found.shape
            )
        else:
            raise ValueError(f"it holds {_kind_of(found)}, not numbers")
    check_shape(found.shape, feature.shape)
    return fit_dtype(found, wanted) if feature.dtype != "string" else found


def _numbers_or_none(values: np.ndarray) -> bool:
    return all(v is None or isinstance(v, int | float) for v in values.flat)


def _kind_of(values: np.ndarray) -> str:
    return "text" if values.dtype.kind in "US" else "something else or nothing in places"


def check_shape(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    if len(found) != len(wanted) or any(
        size is not None and size != there for size, there in zip(wanted, found, strict=True)
    ):
        shown = "x".join("?" if size is None else str(size) for size in wanted)
        raise ValueError(
            f"its shape is {'x'.join(map(str, found)) or 'that of a number'}, not {shown}"
        )


def fit_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """The array as `dtype`, where that loses no more than a float's last digits."""
    target = wanted_dtype(dtype)
    if values.dtype == target:
        return values
    if dtype in INTEGERS and values.dtype.kind in "iub":
        low, high = _limits(dtype)
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            raise ValueError(f"a number does not fit into {dtype}")
    elif dtype in INTEGERS and values.dtype.kind == "f":
        if not np.array_equal(values, np.rint(values)):
            raise ValueError(f"it has fractions, and is read as {dtype}")
        limits = _limits(dtype)
        if values.size and not (limits[0] <= values.min() and values.max() <= limits[1]):
            raise ValueError(f"a number does not fit into {dtype}")
    elif dtype == "bool" and values.dtype.kind in "iuf" and not np.isin(values, (0, 1)).all():
        raise ValueError("it has other numbers than 0 and 1, and is read as bool")
    return values.astype(target)


def wanted_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _label(feature: Feature) -> Converter:
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
            raise ValueError(f"the label {_shown(value)} is no integer")
        if value < 0 or (names and value >= len(names)) or value >= 2**63:
            allowed = f"0 to {len(names) - 1}" if names else "0 and up"
            raise ValueError(f"the label {value} is none of {allowed}")
        return int(value)

    return convert


def _unknown_class(text: str, names: tuple[str, ...]) -> str:
    if text in MISSING:
        return "no label"
    if not names:
        return f"the label {_shown(text)} is no integer"
    near = difflib.get_close_matches(text, names, n=1)
    meant = f", perhaps {near[0]!r} is meant" if near else ""
    return f"the class {_shown(text)} is none of the {len(names)} known{meant}"


def _limits(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _shown(value: Any) -> str:
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
    raise ValueError(f"{_shown(value)} is no image")
