"""What the features of a data set are: their kind, dtype and shape, and how a record stores them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from tfdml.errors import DataError

Kind = Literal["image", "label", "text", "tensor"]
Shape = tuple[int | None, ...]

IMAGE_ENCODINGS = ("png", "jpeg")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = ("bool", *INTEGERS, *FLOATS, "string")

_DTYPE = {"image": "uint8", "label": "int64", "text": "string", "tensor": "float32"}
_NAME = re.compile(r"[^/\x00-\x1f]+")


@dataclass(frozen=True)
class Feature:
    """One feature of every record.

    A record stores a tensor as a list of tf.train.Example's three types, which parses everywhere, or
    as its bytes in C order, little-endian: where a list would lose bits (float64), would take 8 bytes
    for one when read (8-bit integers), or would lose the shape (two and more unknown dimensions).

    Attributes:
        kind: image (a PNG or JPEG file), label (an int), text (UTF-8) or tensor.
        dtype: its NumPy name; always uint8 for an image, int64 for a label, string for a text.
        shape: of a tensor; of an image (height, width, channels). None where it varies.
        class_names: of a label: the name of label i; empty where labels have no names.
        encoding: of an image "png" or "jpeg"; of a tensor "list" or "bytes", chosen as above if "".
    """

    kind: Kind
    dtype: str = ""
    shape: Shape = ()
    class_names: tuple[str, ...] = ()
    encoding: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _DTYPE:
            raise DataError(
                f"A feature is of a kind of {', '.join(get_args(Kind))}, got {self.kind!r}."
            )
        set_field = object.__setattr__  # the instance is frozen, and not yet in use
        set_field(self, "dtype", str(self.dtype) or _DTYPE[self.kind])
        set_field(self, "shape", tuple(None if n is None else int(n) for n in self.shape))
        set_field(self, "class_names", tuple(map(str, self.class_names)))
        if self.kind != "tensor" and self.dtype != _DTYPE[self.kind]:
            raise DataError(
                f"The dtype of a feature of kind {self.kind} is {_DTYPE[self.kind]}, got {self.dtype}. "
                "Use the kind tensor for other dtypes."
            )
        if any(n is not None and n < 0 for n in self.shape):
            raise DataError(f"`shape` has sizes or None for unknown ones, got {self.shape}.")
        if self.class_names and self.kind != "label":
            raise DataError(f"Only a label has class names, got them for a feature of {self.kind}.")
        if len(set(self.class_names)) < len(self.class_names):
            twice = next(n for n in self.class_names if self.class_names.count(n) > 1)
            raise DataError(f"Class names must differ, got {twice!r} twice.")
        getattr(self, f"_check_{self.kind}")()

    def _check_image(self) -> None:
        if len(self.shape) != 3 or self.shape[2] not in (1, 3, 4):
            raise DataError(
                "The shape of an image is (height, width, channels) with 1, 3 or 4 channels, and None "
                f"for a height or width that varies; got {self.shape}."
            )
        if self.encoding not in IMAGE_ENCODINGS:
            raise DataError(f"An image is encoded as png or jpeg, got {self.encoding!r}.")
        if self.encoding == "jpeg" and self.shape[2] == 4:
            raise DataError("A jpeg has 1 or 3 channels, got 4. Use png for images with alpha.")

    def _check_label(self) -> None:
        self._check_scalar()

    def _check_text(self) -> None:
        self._check_scalar()

    def _check_scalar(self) -> None:
        if self.shape or self.encoding:
            raise DataError(
                f"A {self.kind} has neither shape nor encoding, got {self.shape} and {self.encoding!r}."
            )

    def _check_tensor(self) -> None:
        if self.dtype not in DTYPES:
            raise DataError(
                f"The dtype of a tensor is one of {', '.join(DTYPES)}, got {self.dtype!r}."
            )
        if not self.encoding:
            object.__setattr__(self, "encoding", self._default_encoding())
        if self.encoding not in ("list", "bytes"):
            raise DataError(f"A tensor is encoded as list or bytes, got {self.encoding!r}.")
        if self.encoding == "list" and self.has_dynamic_shape:
            raise DataError(
                f"A tensor with the shape {self.shape} cannot be a list: more than one dimension is "
                "unknown. Leave its encoding out."
            )
        if self.encoding == "bytes" and self.dtype in ("string", "uint32"):
            raise DataError(
                f"A tensor of {self.dtype} with the shape {self.shape} is stored as a list, with one "
                f"unknown dimension at most. {'Cast it to int64.' if self.dtype == 'uint32' else ''}"
            )

    def _default_encoding(self) -> str:
        if self.has_dynamic_shape or self.dtype == "float64":
            return "bytes"
        return "bytes" if self.shape and self.dtype in ("int8", "uint8") else "list"

    @property
    def numpy_dtype(self) -> np.dtype:
        """Of a tensor's array; `object` for strings."""
        if self.dtype == "string":
            return np.dtype(object)
        if self.dtype == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(self.dtype)

    @property
    def has_dynamic_shape(self) -> bool:
        """Whether a tensor's record stores its shape too, as NAME/shape beside NAME/value."""
        return self.kind == "tensor" and self.shape.count(None) > 1

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults, with lists for tuples."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in values.items() if v or k == "kind"}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Feature:
        return cls(**values)


Schema = dict[str, Feature]


def make_schema(features: Iterable[tuple[str, Feature]]) -> Schema:
    """Feature name -> feature, in the order given.

    Raises:
        DataError: for no feature at all, two of one name, or a name that is empty, has a slash or
            control characters.
    """
    schema: Schema = {}
    for name, feature in features:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DataError(
                f"A feature's name has at least one character and neither slashes nor control "
                f"characters, got {name!r}. Rename it."
            )
        if name in schema:
            raise DataError(
                f"Two features have the name {name!r}. Rename or leave out one of them."
            )
        schema[name] = feature
    if not schema:
        raise DataError("A data set needs at least one feature, got none.")
    return schema


def label_feature(schema: Schema) -> str | None:
    """The name of the label that the index stores: the first label of the schema, if there is one."""
    return next((name for name, feature in schema.items() if feature.kind == "label"), None)
