"""A text feature to token numbers; a vocabulary of characters or words is made in a first pass."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.input import BadRow, Row
from tfdml.data.stages.simple import OneFeature
from tfdml.data.stages.stage import Rows, feature_of
from tfdml.data.stages.tokenizers import END, UNKNOWN, Bytes, FromFile, Pieces, Tokenizer, pieces
from tfdml.data.stages.word_counts import WordCounts, fits_a_line, to_file
from tfdml.errors import ConfigError, DataError

_DEFAULT_SIZES = {"chars": 10_000, "words": 32_000}


@dataclass(frozen=True)
class Tokenise(OneFeature):
    """A text becomes int32 [tokens].

    Attributes:
        kind: "bytes", "chars", "words" or "file".
        size: of a vocabulary that is to be made.
        tokenizer: None while its vocabulary is not known.
    """

    feature: str
    kind: str
    size: int = 0
    tokenizer: Tokenizer | None = None

    @property
    def fitted(self) -> bool:  # type: ignore[override]
        return self.tokenizer is not None

    def schema(self, schema: Schema) -> Schema:
        feature_of(schema, self.feature, "tokenize", ("text",))
        return {**schema, self.feature: Feature("tensor", "int32", (None,))}

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        tokens = unknown = 0
        for row in super().apply(rows, counts):
            if isinstance(row, Row):
                numbers = row.values[self.feature]
                tokens += len(numbers)
                if self.kind in _DEFAULT_SIZES:
                    unknown += int((numbers == UNKNOWN).sum())
            yield row
        counts[f"tokenize {self.feature}: tokens"] += tokens
        if self.kind in _DEFAULT_SIZES:
            counts[f"tokenize {self.feature}: tokens that are not in the vocabulary"] += unknown

    def change(self, value: bytes) -> np.ndarray:
        assert self.tokenizer is not None
        return self.tokenizer.encode(value)

    def start(self) -> WordCounts:
        return WordCounts()

    def observe(self, partial: WordCounts, row: Row) -> None:
        found = pieces(self.kind, row.values[self.feature])
        if self.kind == "chars":  # counted before they are looked at one by one
            for piece, number in Counter(found).items():
                if piece == "\n" or fits_a_line(piece):
                    partial.counts[piece] += number
        else:
            partial.add(found)

    def combine(self, total: WordCounts, partial: WordCounts) -> None:
        total.merge(partial)

    def fit(self, total: WordCounts) -> Tokenise:
        vocabulary = total.most_frequent(self.size)
        if not vocabulary:
            raise DataError(f"--tokenize={self.feature}: the texts have no {self.kind}.")
        return replace(self, tokenizer=Pieces(self.kind, vocabulary))

    def describe(self) -> dict[str, Any]:
        done: dict[str, Any] = {"stage": "Tokenise", "feature": self.feature, "kind": self.kind}
        if self.tokenizer is not None:
            done |= {
                "num_tokens": self.tokenizer.num_tokens,
                "pad": self.tokenizer.pad,
                "end": self.tokenizer.end,
            }
        if isinstance(self.tokenizer, FromFile):
            done["sha256"] = hashlib.sha256(self.tokenizer.content).hexdigest()
        if files := self.side_files():
            done["file"] = next(iter(files))
        return done

    def side_files(self) -> dict[str, bytes]:
        """A vocabulary, whose first line has the number 3; a line break is written as \\n."""
        if isinstance(self.tokenizer, Pieces):
            words = ("\\n" if word == "\n" else word for word in self.tokenizer.vocabulary)
            return {f"tokens-{self.feature}.txt": to_file(words)}
        if isinstance(self.tokenizer, FromFile):
            return {f"tokenizer-{self.feature}.json": self.tokenizer.content}
        return {}


def parse_tokenise(text: str) -> Tokenise:
    """`NAME:bytes`, `NAME:chars`, `NAME:words`, the latter with :SIZE, or `NAME:FILE.json`."""
    name, _, rest = text.partition(":")
    kind, _, size = rest.partition(":")
    if rest == "bytes":
        return Tokenise(name, "bytes", tokenizer=Bytes())
    if kind in _DEFAULT_SIZES and (not size or (size.isdecimal() and int(size))):
        return Tokenise(name, kind, int(size or _DEFAULT_SIZES[kind]))
    if not rest or not Path(rest).is_file():
        what = f"there is no file {rest}, and " if rest else ""
        raise ConfigError(
            f"--tokenize={text}: {what}it is NAME:bytes, NAME:chars[:SIZE], NAME:words[:SIZE], or "
            "NAME:FILE.json."
        )
    return Tokenise(name, "file", tokenizer=FromFile(Path(rest).read_bytes(), rest))


def ends_and_pads(stage: Tokenise | None) -> tuple[int | None, int]:
    """The number that ends a document and the one that fills up rows, also before the first pass."""
    if stage is None:
        return None, 0
    if stage.tokenizer is None:
        return END, 0
    return stage.tokenizer.end, stage.tokenizer.pad
