"""The map: one fragment of the input becomes one spill file of framed records, each in its split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfdml.data.conversion.spill import SpillSummary, SpillWriter
from tfdml.data.conversion.splits import SplitBounds
from tfdml.data.example import Encoder
from tfdml.data.inputs.input import BadRow, Fragment, Input, Row
from tfdml.data.record_file import frame
from tfdml.data.stages.stage import Stage, apply_stages
from tfdml.data.statistics import RowStatistics
from tfdml.errors import DataError

if TYPE_CHECKING:
    from tfdml.data.conversion.pool import Report
    from tfdml.data.conversion.state import State
    from tfdml.data.features import Schema

_REPORT_EVERY_ROWS = 256


class RowError(DataError):
    """A row that cannot be used, where such rows are not allowed."""


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
        stratify, bounds = self.bounds.stratify, self.bounds
        for row in self.input.rows(fragment):
            if isinstance(row, Row) and not (row.split and self.keep_own):
                label = row.values.get(stratify) if stratify else None
                row.split = bounds.split_of(row.key, label)
            yield row


@dataclass(frozen=True)
class MapJob:
    """What the map of every fragment needs to know.

    Attributes:
        schema: of the records.
        groups: split -> number of groups that its records are shared out to.
        label: the feature whose values the indexes of the shards keep, or "".
        seed: None keeps the order of the rows.
    """

    reading: Reading
    stages: tuple[Stage, ...]
    schema: Schema
    groups: Mapping[str, int]
    label: str
    seed: int | None
    chunk_bytes: int
    on_error: str
    state: State


def map_fragment(job: MapJob, fragment: Fragment, report: Report) -> SpillSummary:
    """Convert a fragment; its spill file is whole when this returns.

    Raises:
        RowError: for a row that cannot be used, where `on_error` is fail.
        DataError: for a file that cannot be read at all.
    """
    temporary = job.state.spill_temporary(fragment.number)
    errors = _Errors(job, fragment)
    writer = SpillWriter(
        temporary,
        job.groups,
        chunk_bytes=job.chunk_bytes,
        labels=bool(job.label),
        key=None if job.seed is None else (job.seed, fragment.number),
    )
    try:
        _convert(job, fragment, writer, errors, report)
        writer.summary.errors = errors.count
        summary = writer.finish()
        errors.finish()
        temporary.replace(job.state.spill(fragment.number))
        return summary
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)


def _convert(
    job: MapJob, fragment: Fragment, writer: SpillWriter, errors: _Errors, report: Report
) -> None:
    encode, label, as_it_is = Encoder(job.schema), job.label, not job.stages
    counts: Counter[str] = Counter()
    statistics = {split: RowStatistics(job.schema) for split in job.groups}
    reading = _Counted(job.reading.rows(fragment), report, fragment)
    for row in apply_stages(job.stages, reading, counts):
        if isinstance(row, BadRow):
            errors.add(row)
            continue
        split = row.split
        if split not in statistics:
            raise DataError(
                f"{row.location or row.key}: is in the split {split!r}, which the input did not announce; it "
                f"has {', '.join(statistics)}."
            )
        if as_it_is and row.record is not None:
            record = row.record
            if row.values:
                statistics[split].add(row.values)
        else:
            try:
                record = encode(row.values)
            except DataError as error:
                errors.add(BadRow(row.location or row.key, str(error).rstrip(".")))
                continue
            statistics[split].add(row.values)
        writer.add(split, frame(record), row.values[label] if label else 0)
    writer.summary.rows = reading.rows
    writer.summary.counts = counts
    writer.summary.statistics = {split: kept.finish() for split, kept in statistics.items()}


class _Counted:
    """Counts rows on their way, and reports them now and then."""

    def __init__(self, rows: Iterable[Row | BadRow], report: Report, fragment: Fragment) -> None:
        self._source = rows
        self._report = report
        self.rows = 0

    def __iter__(self) -> Iterator[Row | BadRow]:
        for row in self._source:
            self.rows += 1
            if not self.rows % _REPORT_EVERY_ROWS:
                self._report(_REPORT_EVERY_ROWS, 0)
            yield row
        self._report(self.rows % _REPORT_EVERY_ROWS, 0)


class _Errors:
    """Bad rows of a fragment: listed in a file of their own, so that any number of them fits into memory."""

    def __init__(self, job: MapJob, fragment: Fragment) -> None:
        self._fail = job.on_error == "fail"
        self._keep = job.on_error == "quarantine"
        self._state = job.state
        self._number = fragment.number
        self._lines: list[str] = []
        self.count = 0

    def add(self, row: BadRow) -> None:
        if self._fail:
            raise RowError(
                f"{row.location}: {row.reason}. --on_error=skip leaves such rows out, "
                "--on_error=quarantine puts them aside."
            )
        listed = {"location": row.location, "reason": row.reason}
        if self._keep and row.content:
            name = f"{self._number:05d}-{self.count:05d}"
            self._state.write(self._state.quarantine / name, row.content)
            listed["content"] = f"quarantine/{name}"
        self._lines.append(json.dumps(listed, ensure_ascii=False) + "\n")
        self.count += 1

    def finish(self) -> None:
        if self._lines:
            self._state.write(self._state.errors(self._number), "".join(self._lines).encode())
