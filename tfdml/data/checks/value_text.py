"""Features and values of records as text that a person can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.format.image_header import image_encoding, image_size

_TEXT_SHOWN = 160
_NUMBERS_SHOWN = 8
_NAMES_SHOWN = 10


def feature_row(name: str, feature: Feature) -> tuple[str, str, str, str, str]:
    """(name, kind, dtype, shape, what else there is to say) of a feature."""
    shape = "" if feature.kind in ("label", "text") else shape_text(feature.shape)
    notes = ""
    if feature.kind == "label" and feature.class_names:
        shown = ", ".join(feature.class_names[:_NAMES_SHOWN])
        more = ", ..." if len(feature.class_names) > _NAMES_SHOWN else ""
        notes = f"{len(feature.class_names)} classes: {shown}{more}"
    elif feature.kind == "image":
        notes = feature.encoding
    elif feature.encoding == "bytes":
        notes = "stored as bytes"
    return name, feature.kind, feature.dtype, shape, notes


def shape_text(shape: Iterable[int | None]) -> str:
    """`28x?x3`; `scalar` for no dimensions."""
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def record_lines(values: Mapping[str, Any], schema: Schema) -> list[str]:
    """One line for each value."""
    width = max(map(len, schema))
    return [f"{name:<{width}}  {value_text(schema[name], values[name])}" for name in schema]


def value_text(feature: Feature, value: Any) -> str:
    if feature.kind == "image":
        pixels = image_size(value)
        what = f"{image_encoding(value)} {shape_text(pixels)}" if pixels else "no PNG or JPEG"
        return f"{what}, {len(value):,} bytes"
    if feature.kind == "label":
        named = 0 <= value < len(feature.class_names)
        return f"{value} ({feature.class_names[value]})" if named else str(value)
    if feature.kind == "text":
        return _quoted(value)
    array = np.asarray(value)
    show = _quoted if feature.dtype == "string" else _number
    numbers = " ".join(show(item) for item in array.ravel()[:_NUMBERS_SHOWN].tolist())
    if not feature.shape:
        return numbers
    more = " ..." if array.size > _NUMBERS_SHOWN else ""
    return f"{feature.dtype} [{', '.join(map(str, array.shape))}]: {numbers}{more}".rstrip(": ")


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _quoted(text: bytes) -> str:
    try:
        shown = repr(text.decode())
    except UnicodeDecodeError:
        shown = repr(text[:_TEXT_SHOWN])
    if len(shown) <= _TEXT_SHOWN:
        return shown
    return f"{shown[:_TEXT_SHOWN]}... ({len(text):,} bytes)"
