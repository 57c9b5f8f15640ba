"""The schema of records that nothing describes, guessed from the first of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np

from tfdml.data.format.example import decode
from tfdml.data.format.features import Feature, Schema
from tfdml.data.format.image_header import image_encoding, image_size
from tfdml.errors import DataError

_LOOKED_AT = 64


def guess_schema(records: Iterable[bytes]) -> Schema:
    """What up to 64 records have in common, sorted by name; names are those stored, slashes and all.

    Images are told by their first bytes, labels by a name that ends in "label", texts by being UTF-8.
    Numbers of which there are always as many are a tensor of a fixed shape.

    Raises:
        DataError: for no records, records that are no Examples, or without a feature that all have.
    """
    rows = [decode(record) for record in islice(records, _LOOKED_AT)]
    if not rows:
        raise DataError("There is no record to guess the features from.")
    names = sorted(name for name in rows[0] if all(name in row for row in rows))
    if not names:
        raise DataError("The first records have no feature in common.")
    return {name: _feature(name, [row[name] for row in rows]) for name in names}


def _feature(name: str, values: list[Any]) -> Feature:
    lengths = {len(value) for value in values}
    shape: tuple[int | None, ...] = (
        (None,) if len(lengths) > 1 else () if lengths == {1} else (*lengths,)
    )
    stored = [value for value in values if len(value)]
    if stored and not isinstance(stored[0], list):
        dtype = str(stored[0].dtype)
        if dtype == "int64" and shape == () and name.lower().endswith("label"):
            return Feature("label")
        return Feature("tensor", dtype, shape)
    texts = [text for value in stored for text in value]
    if shape != () or not texts:
        return Feature("tensor", "string", shape)
    sizes = [image_size(text) for text in texts]
    if None not in sizes:
        return _image(texts, sizes)  # type: ignore[arg-type]
    if all(_is_text(text) for text in texts):
        return Feature("text")
    return Feature("tensor", "string", ())


def _image(images: list[bytes], sizes: list[tuple[int, int, int]]) -> Feature:
    heights, widths, channels = (set(numbers) for numbers in zip(*sizes, strict=True))
    encodings = {image_encoding(image) for image in images}
    return Feature(
        "image",
        shape=(
            heights.pop() if len(heights) == 1 else None,
            widths.pop() if len(widths) == 1 else None,
            1 if channels == {1} else 3,
        ),
        encoding="jpeg" if encodings != {"png"} else "png",
    )


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    control = np.frombuffer(data, np.uint8) < 9  # tabs and line feeds are text
    return bool(text) is bool(data) and not control.any()
