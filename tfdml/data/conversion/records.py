"""From the rows of a fragment to records: each gets its split, passes the stages, and becomes an Example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfdml.data.conversion.bad_rows import BadRows
from tfdml.data.conversion.splits import SplitBounds
from tfdml.data.format.example import Encoder
from tfdml.data.format.features import Schema
from tfdml.data.format.statistics import RowStatistics, SplitStatistics
from tfdml.data.inputs.input import BadRow, Fragment, Input, Row
from tfdml.data.stages.stage import Stage, apply_stages
from tfdml.errors import DataError

if TYPE_CHECKING:
    from tfdml.data.conversion.pool import Report

_REPORT_EVERY_ROWS = 256


@dataclass(frozen=True)
class Reading:
    """Rows as they come from the input, each with its split.

    Attributes:
        bounds: which split a row is in;
        keep_own: unless the input says it, and it is to be believed.
    """

    input: Input
    bounds: SplitBounds
    keep_own: bool

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        keep_own, stratify = self.keep_own, self.bounds.stratify
        split_of = self.bounds.split_of
        for row in self.input.rows(fragment):
            if isinstance(row, Row) and not (keep_own and row.split):
                row.split = split_of(row.key, row.values.get(stratify) if stratify else None)
            yield row


@dataclass
class Tally:
    """What was met on the way.

    Attributes:
        rows: that were read, bad ones among them.
        errors: number of bad rows.
        counts: what the stages found worth counting.
        statistics: split -> what its rows are like.
    """

    rows: int = 0
    errors: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    statistics: dict[str, SplitStatistics] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        self.rows += other.rows
        self.errors += other.errors
        self.counts += other.counts
        for split, of_split in other.statistics.items():
            self.statistics[split] = self.statistics.get(split, SplitStatistics()).merge(of_split)


@dataclass(frozen=True)
class Recipe:
    """How rows become records.

    Attributes:
        stages: all fitted.
        schema: of the records.
        label: the feature whose values the indexes of the shards keep, or "".
        splits: all that there are.
    """

    stages: tuple[Stage, ...]
    schema: Schema
    label: str
    splits: tuple[str, ...]

    def records(
        self, rows: Iterable[Row | BadRow], bad: BadRows, tally: Tally, report: Report
    ) -> Iterator[tuple[str, bytes, int]]:
        """(split, record, label) of every row that can be used; at the end `tally` is filled.

        Raises:
            RowError: for a row that cannot be used, where that is an error.
        """
        encode, label, as_it_is = Encoder(self.schema), self.label, not self.stages
        statistics: dict[str, RowStatistics | None] = dict.fromkeys(self.splits)
        for row in apply_stages(self.stages, _counted(rows, tally, report), tally.counts):
            if isinstance(row, BadRow):
                bad.add(row)
                continue
            values, split, record = row.values, row.split, row.record
            if split not in statistics:
                raise DataError(
                    f"{row.location or row.key}: is in the split {split!r}, which the input did not "
                    f"announce; it has {', '.join(statistics)}."
                )
            if record is None or not as_it_is:
                try:
                    record = encode(values)
                except DataError as error:
                    bad.add(BadRow(row.location or row.key, str(error).rstrip(".")))
                    continue
            if values:
                collected = statistics[split]
                if collected is None:
                    # Records that are passed on as they are come with few of their values.
                    known = {name: each for name, each in self.schema.items() if name in values}
                    collected = statistics[split] = RowStatistics(known)
                collected.add(values)
            yield split, record, values[label] if label else 0
        tally.errors = len(bad)
        tally.statistics = {
            split: collected.finish() for split, collected in statistics.items() if collected
        }


def _counted(rows: Iterable[Row | BadRow], tally: Tally, report: Report) -> Iterator[Row | BadRow]:
    for row in rows:
        tally.rows += 1
        if not tally.rows % _REPORT_EVERY_ROWS:
            report(_REPORT_EVERY_ROWS, 0)
        yield row
    report(tally.rows % _REPORT_EVERY_ROWS, 0)
