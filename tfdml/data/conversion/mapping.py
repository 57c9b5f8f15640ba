"""The map: one fragment of the input becomes one spill file of framed records, each in its split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfdml.data.conversion.bad_rows import BadRows
from tfdml.data.conversion.records import Reading, Recipe
from tfdml.data.conversion.spill import SpillSummary, SpillWriter
from tfdml.data.inputs.input import Fragment

if TYPE_CHECKING:
    from tfdml.data.conversion.pool import Report
    from tfdml.data.conversion.state import State


@dataclass(frozen=True)
class MapJob:
    """What the map of every fragment needs to know.

    Attributes:
        groups: split -> number of groups that its records are shared out to.
        seed: None keeps the order of the rows.
    """

    reading: Reading
    recipe: Recipe
    groups: Mapping[str, int]
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
    bad = BadRows(job.on_error, job.state, fragment.number)
    writer = SpillWriter(
        temporary,
        job.groups,
        chunk_bytes=job.chunk_bytes,
        labels=bool(job.recipe.label),
        key=None if job.seed is None else (job.seed, fragment.number),
    )
    try:
        rows = job.reading.rows(fragment)
        for split, record, label in job.recipe.records(rows, bad, writer.summary.tally, report):
            writer.add(split, record, label)
        summary = writer.finish()
        bad.finish()  # before the spill file gets its name, which says that all is there
        temporary.replace(job.state.spill(fragment.number))
        return summary
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)
