"""From fields of CSV, which are all text, to the values of a row; a `ValueError` says why not."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from tfdml.data.format.features import FLOATS, Feature
from tfdml.data.inputs.array_values import limits
from tfdml.data.inputs.values import MISSING, Converter, from_python, label_converter, shown

_TRUE, _FALSE = (
    frozenset(("true", "True", "TRUE", "1")),
    frozenset(("false", "False", "FALSE", "0")),
)
_BETWEEN_NUMBERS = re.compile(r"[\s,;]+")


def from_text(feature: Feature) -> Converter:
    """For fields that are text (CSV)."""
    if feature.kind == "label":
        return label_converter(feature)
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
        raise ValueError(f"{shown(text)} is no number") from None


def _float_from_text(text: str) -> float:
    try:
        return float(_strict(text))
    except ValueError:
        if text.strip() in MISSING:
            return math.nan
        raise ValueError(f"{shown(text)} is no number") from None


def _integer_from_text(dtype: str) -> Converter:
    low, high = limits(dtype)

    def convert(text: str) -> int:
        try:
            value = int(_strict(text))
        except ValueError:
            if text.strip() in MISSING:
                raise ValueError(f"no value, and {dtype} has none for that") from None
            raise ValueError(f"{shown(text)} is no integer") from None
        if not low <= value <= high:
            raise ValueError(f"{shown(text)} does not fit into {dtype}")
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
    raise ValueError(f"{shown(text)} is neither true nor false")
