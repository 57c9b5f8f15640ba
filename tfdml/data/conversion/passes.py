"""First passes over the data: bounds of stratified splits, and stages that see all rows before they change any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdml.data.conversion.records import Reading
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.splits import TRAIN, SplitBounds, hashes_by_class
from tfdml.data.conversion.state import read_pickle
from tfdml.data.inputs.input import BadRow, Fragment, Row
from tfdml.data.stages.stage import Stage, fit_fragment, merge_fits, needs_fitting
from tfdml.errors import ConfigError

if TYPE_CHECKING:
    from tfdml.data.conversion.pool import Pool, Report
    from tfdml.data.conversion.progress import Progress
    from tfdml.data.conversion.state import State


@dataclass(frozen=True)
class _PassJob:
    """A pass over all fragments; each leaves its partial result in a file, which a restart finds again.

    Attributes:
        label: whose classes are counted.
        only: the split that stages are fitted to, "" for all rows.
    """

    number: int
    label: str
    only: str
    reading: Reading
    stages: tuple[Stage, ...]
    state: State


def run_passes(
    request: Conversion,
    fragments: Sequence[Fragment],
    pool: Pool,
    state: State,
    progress: Progress,
) -> tuple[SplitBounds, tuple[Stage, ...]]:
    """The bounds of the splits, and the fitted stages.

    Stages are fitted to the rows of the split `train`, where there is one: what is measured must not
    know what it will be tested with.
    """
    bounds = SplitBounds((TRAIN,), ())
    number = 0
    only = TRAIN if TRAIN in request.split_parts() else ""

    def one_pass(
        what: str, function: Callable[..., None], stages: tuple[Stage, ...]
    ) -> Iterator[Any]:
        nonlocal number
        reading = Reading(request.input, bounds, request.splits is None)
        label = request.splits.stratify if request.splits else ""
        job = _PassJob(number, label, only, reading, stages, state)
        left = [f for f in fragments if not state.of_pass(number, f.number).exists()]
        with progress.phase(
            what,
            total_bytes=sum(f.size_bytes for f in fragments),
            done_bytes=sum(f.size_bytes for f in fragments) - sum(f.size_bytes for f in left),
        ):
            for fragment, _ in pool.run(function, job, left, progress.rows):
                progress.advance(fragment.size_bytes)
        number += 1
        return (read_pickle(state.of_pass(job.number, f.number)) for f in fragments)

    if request.splits is not None:
        bounds = request.splits.bounds()
        if request.splits.stratify:
            _check_label(request)
            hashes: dict[int, list[np.ndarray]] = {}
            for part in one_pass("classes", _classes_of_fragment, ()):
                for label, of_class in part.items():
                    hashes.setdefault(label, []).append(of_class)
            bounds = request.splits.bounds_by_class(
                {label: np.concatenate(parts) for label, parts in hashes.items()}
            )
    stages = tuple(request.stages)
    while needs_fitting(stages):
        stages = tuple(merge_fits(stages, one_pass("first pass", _fit_of_fragment, stages)))
    return bounds, stages


def _check_label(request: Conversion) -> None:
    assert request.splits is not None
    name, schema = request.splits.stratify, request.input.schema
    if name not in schema or schema[name].kind != "label":
        labels = [feature for feature in schema if schema[feature].kind == "label"]
        raise ConfigError(
            f"--stratify={name}: no label of the input has that name; "
            f"{'the labels are ' + ', '.join(labels) if labels else 'it has no labels'}."
        )


def _classes_of_fragment(job: _PassJob, fragment: Fragment, report: Report) -> None:
    hashes = hashes_by_class(_keys_and_labels(job.reading, fragment, job.label))
    report(sum(map(len, hashes.values())), 0)
    job.state.write_pickle(job.state.of_pass(job.number, fragment.number), hashes)


def _keys_and_labels(reading: Reading, fragment: Fragment, label: str) -> Iterator[tuple[str, int]]:
    """Without reading the images, where the input can say so."""
    quick = getattr(reading.input, "keys_and_labels", None)
    if quick is not None:
        yield from ((key, number) for key, number, *_ in quick(fragment))
        return
    for row in reading.input.rows(fragment):
        if isinstance(row, Row):
            yield row.key, row.values[label]


def _fit_of_fragment(job: _PassJob, fragment: Fragment, report: Report) -> None:
    rows = _of_split(job.reading.rows(fragment), job.only, report)
    job.state.write_pickle(
        job.state.of_pass(job.number, fragment.number), fit_fragment(job.stages, rows)
    )


def _of_split(rows: Iterator[Row | BadRow], split: str, report: Report) -> Iterator[Row | BadRow]:
    for row in rows:
        report(1, 0)
        if isinstance(row, Row) and (not split or row.split == split):
            yield row
