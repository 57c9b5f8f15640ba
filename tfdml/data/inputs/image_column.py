"""A column of a table that holds images: paths beside the table, bytes, or base64 text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from tfdml.data.format.features import Feature
from tfdml.data.inputs.images import check_image, fits, image_feature, read_header
from tfdml.data.inputs.input import InputFile
from tfdml.data.inputs.opening import read_file
from tfdml.data.inputs.values import image_bytes
from tfdml.errors import DataError
from tfdml.storage import is_remote

Load = Callable[[Any], bytes]


def loader(table: str) -> Load:
    """From a value to an encoded image; a text is a path, relative to the directory of `table`."""
    base = table.rpartition("/")[0]

    def load(value: Any) -> bytes:
        if not isinstance(value, str) or value.startswith("data:"):
            return image_bytes(value)
        if not value:
            raise ValueError("no image")
        joined = f"{base}/{value}" if base else value
        path = value if value.startswith("/") or is_remote(value) else joined
        try:
            size = 0 if is_remote(path) else os.path.getsize(path)
            return read_file(InputFile(path, value, size, ""))
        except (OSError, DataError):
            raise ValueError(f"there is no image {path} that can be read") from None

    return load


def image_column(feature: Feature, table: str, *, reencode: bool) -> Load:
    """A converter: the encoded image, which is whole and as the feature says; else ValueError."""
    load = loader(table)

    def convert(value: Any) -> bytes:
        data = load(value)
        fits(check_image(data, any_format=reencode), feature)
        return data

    return convert


def look_at(values: Iterable[Any], table: str, image_shape: str, name: str) -> Feature:
    """The feature of an image column, from some of its values.

    Raises:
        DataError: when none of them is an image.
    """
    load = loader(table)
    headers = []
    for value in values:
        try:
            headers.append(read_header(load(value)))
        except ValueError as error:
            reason = str(error)
    if not headers:
        raise DataError(f"{table}: the column {name!r} holds no images: {reason}.")
    return image_feature(headers, image_shape)
