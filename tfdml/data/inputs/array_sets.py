"""Which arrays of a file belong together, as one set with an array for each feature.

A file may hold several sets, for training and testing, by its names: `x_train` and `x_test`, or groups
`train` and `test`. They keep their splits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tfdml.data.inputs.input import InputFile
from tfdml.errors import DataError

_SPLITS = {"train": "train", "test": "test", "val": "validation", "valid": "validation"}
_SPLITS["validation"] = "validation"
_WITH_SPLIT = re.compile(
    r"(?P<name>.+)_(?P<split>train|test|validation|valid|val)|"
    r"(?P<split_first>train|test|validation|valid|val)[_/.](?P<name_last>.+)"
)


class Array(NamedTuple):
    """What an array is, before it is read.

    Attributes:
        dtype: NumPy's; object for texts or bytes of any length.
        chunk_rows: rows that are stored together.
        object_bytes: of a text or of bytes, about.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunk_rows: int = 1
    object_bytes: int = 64

    @property
    def row_bytes(self) -> int:
        size = self.object_bytes if self.dtype == object else self.dtype.itemsize
        return int(np.prod(self.shape[1:], dtype=np.int64)) * size


class ArraySet(NamedTuple):
    """Arrays of one length; `arrays` maps features to names in the file."""

    file: InputFile
    split: str
    arrays: dict[str, str]
    length: int


def by_split(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Split -> feature -> name in the file; one split "" unless every name says which split it is of."""
    names = list(names)
    matches = [_WITH_SPLIT.fullmatch(name) for name in names]
    found: dict[str, dict[str, str]] = {}
    if all(matches) and len({m["split"] or m["split_first"] for m in matches if m}) > 1:
        for name, match in zip(names, matches, strict=True):
            assert match is not None
            split = _SPLITS[match["split"] or match["split_first"]]
            found.setdefault(split, {})[match["name"] or match["name_last"]] = name
        return found
    return {"": {name: name for name in names}}


def array_set(
    file: InputFile, split: str, arrays: dict[str, tuple[str, Array]], used: Iterable[str]
) -> ArraySet:
    """A set, after checking that it has all arrays that are used, with one length."""
    lengths = {}
    for name in used:
        if name not in arrays:
            where = f"{file.path}, {split}" if split else file.path
            raise DataError(
                f"{where}: there is no array {name!r}, which others have. Leave it out with --drop={name}."
            )
        at, array = arrays[name]
        if not array.shape:
            raise DataError(
                f"{file.path}: {at!r} is a single value, not an array with a row for each example. "
                f"Leave it out with --drop={name}."
            )
        lengths[at] = array.shape[0]
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lambda n: lengths[n]), max(lengths, key=lambda n: lengths[n])
        raise DataError(
            f"{file.path}: {short!r} has {lengths[short]:,} rows and {long!r} has {lengths[long]:,}. Leave "
            "out what does not belong together with --select or --drop."
        )
    names = {name: arrays[name][0] for name in used}
    return ArraySet(file, split, names, next(iter(lengths.values())))


def check_alike(
    file: InputFile, arrays: dict[str, Array], first: dict[str, Array], first_path: str
) -> None:
    for name, array in arrays.items():
        other = first[name]
        if array.shape[1:] != other.shape[1:] or array.dtype.kind != other.dtype.kind:
            raise DataError(
                f"{file.path}: rows of {name!r} are {array.dtype} {list(array.shape[1:])}, in {first_path} "
                f"{other.dtype} {list(other.shape[1:])}. Convert arrays of one kind together."
            )
