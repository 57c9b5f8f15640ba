"""Fitting stages in as few passes as their dependencies allow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from tfdml.data.inputs.input import BadRow, Row
from tfdml.data.stages.stage import (
    apply_stages,
    fit_fragment,
    map_rows,
    merge_fits,
    needs_fitting,
)


@dataclass(frozen=True)
class Add:
    name: str
    amount: int = 1
    fitted: bool = True

    @property
    def features(self):
        return (self.name,)

    def apply(self, rows, counts):
        def add(row):
            counts["added"] += 1
            return Row(row.key, {**row.values, self.name: row.values[self.name] + self.amount})

        return map_rows(add, rows)

    def start(self):
        return [0]

    def observe(self, partial, row):
        partial[0] += row.values[self.name]

    def combine(self, total, partial):
        total[0] += partial[0]

    def fit(self, total):
        return replace(self, amount=total[0], fitted=True)


def rows():
    return [Row("1", {"x": 1, "y": 10}), BadRow("f, row 2", "no"), Row("3", {"x": 2, "y": 20})]


def test_bad_rows_pass_and_counts_are_added():
    counts = Counter()
    out = list(apply_stages([Add("x"), Add("x")], rows(), counts))
    assert [row.values["x"] for row in out if isinstance(row, Row)] == [3, 4]
    assert out[1] == rows()[1]
    assert counts == {"added": 4}


def test_independent_stages_are_fitted_by_one_pass():
    stages = [Add("x"), Add("x", fitted=False), Add("x", 7), Add("y", fitted=False)]
    fitted = merge_fits(stages, [fit_fragment(stages, rows()), fit_fragment(stages, rows())])
    # x as the first stage leaves it: (2 + 3) in each of two fragments.
    assert [stage.amount for stage in fitted] == [1, 10, 7, 60]
    assert not needs_fitting(fitted)


def test_a_stage_that_builds_on_another_waits_for_it():
    stages = [Add("x", fitted=False), Add("x", fitted=False)]
    passes = 0
    while needs_fitting(stages):
        stages = merge_fits(stages, [fit_fragment(stages, rows())])
        passes += 1
    assert passes == 2
    assert [stage.amount for stage in stages] == [3, 9]
