"""The categories of columns of texts: counted in a first pass over the training split, kept beside the shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfdml.data.format.features import Schema
from tfdml.data.inputs.input import BadRow, Row
from tfdml.data.stages.stage import Rows
from tfdml.data.stages.word_counts import WordCounts
from tfdml.errors import DataError

FILE_NAME = "categories.json"


@dataclass(frozen=True)
class Categories:
    """A stage that leaves rows as they are, and finds the most frequent values of some features.

    Attributes:
        features: texts, or tensors of texts.
        size: at most so many of each.
        min_count: how often one must occur.
        found: feature -> its categories, most frequent first; None while not known.
    """

    features: tuple[str, ...]
    size: int
    min_count: int
    found: dict[str, tuple[str, ...]] | None = None
    keeps_rows = True

    @property
    def fitted(self) -> bool:
        return self.found is not None

    def schema(self, schema: Schema) -> Schema:
        return schema

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        return iter(rows)

    def start(self) -> dict[str, WordCounts]:
        return {name: WordCounts() for name in self.features}

    def observe(self, partial: dict[str, WordCounts], row: Row) -> None:
        for name, counts in partial.items():
            value = row.values[name]
            cells = (value,) if isinstance(value, bytes) else np.asarray(value, object).flat
            counts.add(cell.decode("utf-8", "replace") for cell in cells if cell)

    def combine(self, total: dict[str, WordCounts], partial: dict[str, WordCounts]) -> None:
        for name, counts in partial.items():
            total[name].merge(counts)

    def fit(self, total: dict[str, WordCounts]) -> Categories:
        found = {n: counts.most_frequent(self.size, self.min_count) for n, counts in total.items()}
        for name, categories in found.items():
            if not categories:
                raise DataError(
                    f"column {name!r}: no value occurs {self.min_count} times in training, so they are no "
                    "categories. Leave the column out with data.ignore, or lower data.min_category_count."
                )
        return replace(self, found=found)

    def describe(self) -> dict[str, Any]:
        counts = {name: len(categories) for name, categories in (self.found or {}).items()}
        return {"stage": "Categories", "features": list(self.features), "categories": counts}

    def side_files(self) -> dict[str, bytes]:
        return {FILE_NAME: json.dumps(self.found, ensure_ascii=False, indent=2).encode()}
