"""Applying stages to rows in a test: first passes over fragments, pickling on the way, then the rows."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

from tfdml.data.inputs.input import BadRow, Row
from tfdml.data.stages.from_flags import stages_from_flags
from tfdml.data.stages.stage import apply_stages, fit_fragment, merge_fits, needs_fitting


def rows_of(**columns) -> list[Row]:
    number = len(next(iter(columns.values())))
    return [
        Row(str(n), {name: values[n] for name, values in columns.items()}, f"f, row {n}")
        for n in range(number)
    ]


def fitted(flags: dict, fragments: list[list]) -> list:
    stages = stages_from_flags(flags)
    while needs_fitting(stages):
        partials = [
            fit_fragment(pickle.loads(pickle.dumps(stages)), copy.deepcopy(rows))
            for rows in fragments
        ]
        stages = merge_fits(stages, pickle.loads(pickle.dumps(partials)))
    return stages


def applied(flags: dict, *fragments: list) -> tuple[list[Row], list[BadRow], Counter]:
    """(good rows, bad rows, counts), as the converter makes them."""
    stages = pickle.loads(pickle.dumps(fitted(flags, list(fragments))))
    counts: Counter[str] = Counter()
    rows = [
        row
        for fragment in fragments
        for row in apply_stages(stages, copy.deepcopy(fragment), counts)
    ]
    good = [row for row in rows if isinstance(row, Row)]
    return good, [row for row in rows if isinstance(row, BadRow)], counts
