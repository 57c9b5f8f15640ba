"""Interactions with users and items numbered from 0, as tables of embeddings want them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfdml.data.conversion.splits import Splits
from tfdml.data.format.features import Feature, make_schema
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.interactions.tables import OWN, Table
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

TRAIN, TEST = "train", "test"


@dataclass(frozen=True, eq=False)
class Facts:
    """What a first pass over all interactions found.

    Attributes:
        user_ids, item_ids: int64, ascending: the number of a user or item is its place here.
        user_counts, item_counts: int64, of the same lengths: interactions of each in the training split.
        num_train, num_test: interactions.
        mean_rating: of the training split.
        first_time, last_time: the smallest and largest timestamps.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    user_counts: np.ndarray
    item_counts: np.ndarray
    num_train: int
    num_test: int
    mean_rating: float
    first_time: int
    last_time: int

    def write(self, path: Path) -> None:
        """As a NumPy archive that appears when it is whole."""
        with appears_when_whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **self.__dict__)

    @classmethod
    def read(cls, path: Path) -> Facts:
        with np.load(path) as values:
            return cls(**{k: v if v.ndim else v.item() for k, v in values.items()})


class NumberedInteractions:
    """An input of a conversion: the rows of a table, with numbers for ids.

    A row that cannot be used ends the reading, with a `DataError` that names file and row.
    """

    def __init__(self, table: Table, facts: Facts):
        self._table = table
        self._facts = facts
        self.files: tuple[InputFile, ...] = table.input.files
        features = (Feature("tensor", kind) for kind in ("int64", "int64", "float32", "int64"))
        self.schema = make_schema(zip(OWN, features, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_numbers"}

    def fragments(self) -> Any:
        return self._table.input.fragments()

    @functools.cached_property
    def _numbers(self) -> tuple[dict[int, int], dict[int, int]]:
        ids = (self._facts.user_ids, self._facts.item_ids)
        return tuple({value: n for n, value in enumerate(each.tolist())} for each in ids)  # type: ignore[return-value]

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        users, items = self._numbers
        for row, (user, item, rating, time) in _checked_rows(self._table, fragment):
            values = {"user": users[user], "item": items[item], "rating": rating, "timestamp": time}
            yield Row(row.key, values, row.location)


def survey(table: Table, splits: Splits) -> Facts:
    """Read all rows once.

    Raises:
        DataError: a row cannot be used.
    """
    bounds = splits.bounds()
    users: dict[int, int] = {}
    items: dict[int, int] = {}
    num_train = num_test = 0
    total = 0.0
    first_time, last_time = 2**63 - 1, -(2**63)
    for fragment in table.input.fragments():
        for row, (user, item, rating, time) in _checked_rows(table, fragment):
            trains = bounds.split_of(row.key) == TRAIN
            users[user] = users.get(user, 0) + trains
            items[item] = items.get(item, 0) + trains
            if trains:
                num_train += 1
                total += rating
            else:
                num_test += 1
            first_time, last_time = min(first_time, time), max(last_time, time)
    user_ids, user_counts = _sorted(users)
    item_ids, item_counts = _sorted(items)
    return Facts(
        user_ids,
        item_ids,
        user_counts,
        item_counts,
        num_train,
        num_test,
        total / max(num_train, 1),
        first_time,
        last_time,
    )


def _sorted(counts: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(sorted(counts), np.int64)
    return ids, np.array([counts[each] for each in ids.tolist()], np.int64)


def _checked_rows(
    table: Table, fragment: Fragment
) -> Iterator[tuple[Row, tuple[int, int, float, int]]]:
    user, item, rating, timestamp = table.columns
    for row in table.input.rows(fragment):
        if isinstance(row, BadRow):
            raise _unusable(row.location, row.reason)
        values = row.values
        try:
            yield (
                row,
                (
                    _id(values, user),
                    _id(values, item),
                    _rating(values, rating),
                    int(values[timestamp]),
                ),
            )
        except ValueError as error:
            raise _unusable(row.location, str(error)) from None


def _id(values: dict[str, Any], column: str) -> int:
    """TFDS has ids as texts."""
    value = values[column]
    if type(value) is int and value >= 0:
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f"column {column!r}: an id is a whole number of at least 0, got {text!r}")
    return int(text)


def _rating(values: dict[str, Any], column: str) -> float:
    value = float(values[column])
    if not math.isfinite(value):
        raise ValueError(f"column {column!r}: a rating is a number, got {value}")
    return value


def _unusable(location: str, reason: str) -> DataError:
    return DataError(f"{location}: {reason}. Correct the row, or remove it.")
