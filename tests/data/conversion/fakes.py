"""Inputs made of nothing, for tests of the converter: picklable, and importable by its workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row

WORDS = ("red", "green", "blue")


@dataclass(frozen=True)
class Rows:
    """`num_rows` rows {number, label, text}, in fragments of `per_fragment` rows.

    Attributes:
        text_bytes: size of the text of a row.
        bad: numbers of rows that cannot be used.
        splits: the input's own, in turn; () for none.
        slow_seconds: that every fragment takes.
    """

    num_rows: int = 1000
    per_fragment: int = 100
    text_bytes: int = 50
    bad: tuple[int, ...] = ()
    splits: tuple[str, ...] = ()
    slow_seconds: float = 0.0
    version: str = "1"
    schema: Schema = field(
        default_factory=lambda: {
            "number": Feature("tensor", "int64"),
            "label": Feature("label", class_names=WORDS),
            "text": Feature("text"),
        }
    )

    @property
    def files(self) -> tuple[InputFile, ...]:
        return (InputFile("rows.txt", "rows.txt", self.num_rows * self.row_bytes, self.version),)

    @property
    def row_bytes(self) -> int:
        return self.text_bytes + 16

    def fragments(self) -> Sequence[Fragment]:
        starts = range(0, self.num_rows, self.per_fragment)
        return [
            Fragment(
                number,
                "rows.txt",
                start,
                min(start + self.per_fragment, self.num_rows),
                self.per_fragment * self.row_bytes,
            )
            for number, start in enumerate(starts)
        ]

    def split_bytes(self) -> dict[str, int]:
        return dict.fromkeys(self.splits, self.num_rows)

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        assert "tensorflow" not in sys.modules or self.slow_seconds == 0
        time.sleep(self.slow_seconds)
        for i in range(fragment.start, fragment.stop):
            location = f"rows.txt, row {i}"
            if i in self.bad:
                yield BadRow(location, "it is no row", b"raw %d" % i)
                continue
            split = self.splits[i % len(self.splits)] if self.splits else ""
            yield Row(f"rows.txt:{i}", self.values(i), location, split)

    def values(self, i: int) -> dict:
        word = b"%x " % (i * 0x9E3779B97F4A7C15)
        text = (word * (self.text_bytes // len(word) + 1))[: self.text_bytes]
        return {"number": i, "label": i % 3, "text": text}


class CountedRows(Rows):
    """Rows that are counted before they are read."""

    def fragment_rows(self, fragment: Fragment) -> int:
        return fragment.stop - fragment.start
