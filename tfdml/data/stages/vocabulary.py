"""Words to numbers, with a vocabulary that is given or made of the most frequent words in a first pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.input import BadRow, Row
from tfdml.data.stages.simple import OneFeature
from tfdml.data.stages.stage import Rows, feature_of
from tfdml.data.stages.word_counts import WordCounts, fits_a_line, to_file
from tfdml.errors import ConfigError, DataError

UNKNOWN = 0  # the number of words that are not in the vocabulary; the others count from 1


@dataclass(frozen=True)
class Vocabulary(OneFeature):
    """A text, or a tensor of texts, becomes an int64 tensor of the same shape.

    Attributes:
        size, min_count: of a vocabulary that is to be made.
        words: None while not known.
        forgotten: words up to this count may be missing, because there were too many different ones.
    """

    feature: str
    size: int = 0
    min_count: int = 1
    words: tuple[str, ...] | None = None
    forgotten: int = 0

    @property
    def fitted(self) -> bool:  # type: ignore[override]
        return self.words is not None

    def schema(self, schema: Schema) -> Schema:
        feature = feature_of(schema, self.feature, "vocabulary", ("text", "tensor"))
        if feature.dtype != "string":
            raise ConfigError(
                f"--vocabulary: the feature {self.feature!r} is {feature.dtype}, and words are text."
            )
        return {**schema, self.feature: Feature("tensor", "int64", feature.shape)}

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {word.encode(): number for number, word in enumerate(self.words or (), UNKNOWN + 1)}

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        unknown = f"vocabulary {self.feature}: words that are not in it"
        for row in super().apply(rows, counts):
            if isinstance(row, Row):
                value = row.values[self.feature]
                counts[unknown] += int(
                    value == UNKNOWN if isinstance(value, int) else np.sum(value == UNKNOWN)
                )
            yield row

    def change(self, value: Any) -> int | np.ndarray:
        if isinstance(value, bytes):
            return self._numbers.get(value, UNKNOWN)
        numbers = [self._numbers.get(word, UNKNOWN) for word in np.asarray(value, object).flat]
        return np.array(numbers, np.int64).reshape(np.shape(value))

    def start(self) -> WordCounts:
        return WordCounts()

    def observe(self, partial: WordCounts, row: Row) -> None:
        value = row.values[self.feature]
        words = [value] if isinstance(value, bytes) else np.asarray(value, object).flat
        texts = (word.decode(errors="replace") for word in words)
        partial.add(text for text in texts if fits_a_line(text))

    def combine(self, total: WordCounts, partial: WordCounts) -> None:
        total.merge(partial)

    def fit(self, total: WordCounts) -> Vocabulary:
        words = total.most_frequent(self.size, self.min_count)
        if not words:
            raise DataError(
                f"--vocabulary={self.feature}: no word occurs {self.min_count} times or more."
            )
        return replace(self, words=words, forgotten=total.forgotten)

    def describe(self) -> dict[str, Any]:
        return {
            "stage": "Vocabulary",
            "feature": self.feature,
            "words": len(self.words or ()),
            "unknown": UNKNOWN,
            "file": self._file_name,
            **({"words_up_to_this_count_may_be_missing": self.forgotten} if self.forgotten else {}),
        }

    @property
    def _file_name(self) -> str:
        return f"vocabulary-{self.feature}.txt"

    def side_files(self) -> dict[str, bytes]:
        """The word of line n has the number n."""
        return {self._file_name: to_file(self.words or ())}


def parse_vocabulary(text: str) -> Vocabulary:
    """`NAME:SIZE`, `NAME:SIZE:MIN_COUNT` or `NAME:FILE`."""
    name, _, rest = text.partition(":")
    size, _, min_count = rest.partition(":")
    if size.isdecimal() and int(size) and (not min_count or min_count.isdecimal()):
        return Vocabulary(name, int(size), int(min_count or 1))
    if not rest or not Path(rest).is_file():
        what = f"there is no file {rest}, and " if rest else ""
        raise ConfigError(
            f"--vocabulary={text}: {what}it is NAME:SIZE, NAME:SIZE:MIN_COUNT, or NAME:FILE with a word a "
            "line."
        )
    words = read_words(rest, f"--vocabulary={text}")
    return Vocabulary(name, len(words), words=words)


def read_words(file: str, flag: str) -> tuple[str, ...]:
    """The words of a file, one a line."""
    try:
        words = tuple(Path(file).read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise ConfigError(f"{flag}: the file is no UTF-8.") from None
    twice = next((word for word, n in Counter(words).items() if n > 1), None)
    if twice is not None or "" in words or not words:
        what = (
            "is empty"
            if not words
            else "has an empty line"
            if "" in words
            else f"has {twice!r} twice"
        )
        raise ConfigError(f"{flag}: the file {what}.")
    return words
