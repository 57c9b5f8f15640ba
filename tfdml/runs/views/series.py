"""Numbers by step, in little memory: a job of a week has many."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence


class Series:
    """Values of one name, by rising step."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")

    def add(self, step: int, value: float) -> None:
        """The value at `step`; replaces what is there of this step and of later ones."""
        self.cut_after(step - 1)
        self.steps.append(step)
        self.values.append(value)

    def cut_after(self, step: int) -> None:
        """Forget what came after `step`: steps that were lost, and are trained again."""
        if self.steps and self.steps[-1] > step:
            keep = bisect_right(self.steps, step)
            del self.steps[keep:], self.values[keep:]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps, self.values, strict=True)

    @property
    def last(self) -> float:
        return self.values[-1]

    def mean(self) -> float:
        """Of the finite values; NaN where there are none."""
        finite = [value for value in self.values if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else math.nan

    def thinned(self, most: int) -> list[tuple[float, float]]:
        """At most `most` points, each the mean of neighbours; what is not finite is left out of them.

        A neighbourhood without a finite value is one point with NaN, so that a gap shows.
        """
        group = max(math.ceil(len(self) / most), 1)
        if group == 1:
            return [(float(step), value) for step, value in self]
        return [
            (_mean(self.steps[i : i + group]), _mean(self.values[i : i + group]))
            for i in range(0, len(self), group)
        ]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
