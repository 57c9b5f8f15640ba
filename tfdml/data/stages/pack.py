"""Documents of tokens joined and cut into rows of one length, so that no row is mostly padding.

Packing stays within a fragment, so that it is done in parallel and is the same for any number of
processes, and within a split, so that no document is in two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.input import BadRow, Row
from tfdml.data.stages.stage import Rows, bad, feature_of
from tfdml.errors import ConfigError

SEGMENTS, POSITIONS = "segment_ids", "positions"


@dataclass(frozen=True)
class Pack:
    """Rows of `length` tokens.

    Attributes:
        end: put behind each document; None for nothing.
        pad: fills up the last row of a fragment.
        tail: "pad" or "drop" for what is left at the end of a fragment.
        segments: also make segment_ids (1, 2, ... for the documents of a row, 0 for padding) and
            positions (of a token within its document in this row).
    """

    feature: str
    length: int
    end: int | None = None
    pad: int = 0
    tail: str = "pad"
    segments: bool = False

    fitted = True
    keeps_rows = False

    def __post_init__(self) -> None:
        if self.length < 2:
            raise ConfigError(f"--pack_length={self.length}: a row has 2 tokens or more.")
        if self.tail not in ("pad", "drop"):
            raise ConfigError(f"--pack_tail={self.tail}: it is 'pad' or 'drop'.")

    @property
    def features(self) -> tuple[str, ...]:
        return (self.feature,)

    def schema(self, schema: Schema) -> Schema:
        feature = feature_of(schema, self.feature, "pack_length", ("tensor",))
        if feature.dtype not in ("int32", "int64") or len(feature.shape) != 1:
            raise ConfigError(
                f"--pack_length: the feature {self.feature!r} is {feature.dtype} {feature.shape}; "
                "tokens are int32 or int64 of one dimension, as --tokenize makes them."
            )
        others = [name for name in schema if name != self.feature]
        if others:
            raise ConfigError(
                f"--pack_length: a row of joined documents has no {others[0]!r}. Use "
                f"--select={self.feature}."
            )
        made = [self.feature, *((SEGMENTS, POSITIONS) if self.segments else ())]
        return {name: Feature("tensor", "int32", (self.length,)) for name in made}

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        open_rows: dict[str, _OpenRow] = {}
        for row in rows:
            if isinstance(row, BadRow):
                yield row
                continue
            tokens = np.asarray(row.values[self.feature])
            if tokens.size and (tokens.min() < -(2**31) or tokens.max() >= 2**31):
                yield bad(row, self.feature, "a token does not fit into int32")
                continue
            if self.end is not None:
                tokens = np.append(tokens, self.end)
            counts["pack: documents"] += 1
            counts["pack: tokens"] += len(tokens)
            into = open_rows.setdefault(row.split, _OpenRow())
            yield from self._filled(into, row, tokens.astype(np.int32), counts)
        for split in sorted(open_rows):
            yield from self._tail(open_rows[split], counts)

    def _filled(
        self, into: _OpenRow, row: Row, tokens: np.ndarray, counts: Counter[str]
    ) -> Iterator[Row]:
        while len(tokens):
            if not into.size:
                into.number = into.number + 1 if into.first is row else 0
                into.first = row
            room = self.length - into.size
            into.pieces.append(tokens[:room])
            into.size += len(tokens[:room])
            tokens = tokens[room:]
            if into.size == self.length:
                yield self._row(into, counts)

    def _tail(self, into: _OpenRow, counts: Counter[str]) -> Iterator[Row]:
        if into.size and self.tail == "drop":
            counts["pack: tokens dropped at the end of fragments"] += into.size
        elif into.size:
            counts["pack: padding tokens"] += self.length - into.size
            yield self._row(into, counts)

    def _row(self, done: _OpenRow, counts: Counter[str]) -> Row:
        counts["pack: rows"] += 1
        tokens = np.full(self.length, self.pad, np.int32)
        segments, positions = np.zeros_like(tokens), np.zeros_like(tokens)
        at = 0
        for number, piece in enumerate(done.pieces, 1):
            stop = at + len(piece)
            tokens[at:stop] = piece
            segments[at:stop] = number
            positions[at:stop] = np.arange(len(piece))
            at = stop
        first = done.first
        assert first is not None
        values = {self.feature: tokens}
        if self.segments:
            values |= {SEGMENTS: segments, POSITIONS: positions}
        key = f"{first.key}+{done.number}"
        done.pieces, done.size = [], 0
        return Row(key, values, first.location, first.split)

    def describe(self) -> dict[str, Any]:
        return {
            "stage": "Pack",
            "feature": self.feature,
            "length": self.length,
            "end": self.end,
            "pad": self.pad,
            "tail": self.tail,
            "segments": self.segments,
        }

    def side_files(self) -> dict[str, bytes]:
        return {}


@dataclass
class _OpenRow:
    """The row of a split that is being filled.

    Attributes:
        first: the document that the row begins with; `number` counts the rows that begin with it.
    """

    pieces: list[np.ndarray] = field(default_factory=list)
    size: int = 0
    first: Row | None = None
    number: int = 0
