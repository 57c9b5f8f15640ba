"""Five numbers about many: count, least, greatest, mean and deviation, in parts that can be merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """What is known of `count` numbers; NaN and infinities are counted and left out.

    Attributes:
        minimum, maximum, mean: of the finite numbers; NaN when there are none.
        squares: sum of the squared differences from the mean.
        not_finite: how many were left out.
    """

    count: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    mean: float = math.nan
    squares: float = 0.0
    not_finite: int = 0

    @property
    def std(self) -> float:
        """Standard deviation of the numbers (divided by their count)."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    @classmethod
    def of(cls, numbers: np.ndarray | Sequence[float]) -> Summary:
        """Of an array of any shape and any dtype of numbers."""
        flat = np.asarray(numbers).ravel()
        not_finite = 0
        if flat.dtype.kind not in "biu":
            finite = np.isfinite(flat)
            not_finite = len(flat) - int(np.count_nonzero(finite))
            flat = flat[finite] if not_finite else flat
        if not len(flat):
            return cls(not_finite=not_finite)
        low, high = flat.min(), flat.max()
        if flat.dtype.kind == "b" or flat.dtype.itemsize == 1:
            return cls._of_octets(flat, float(low), float(high))
        mean = float(flat.mean(dtype=np.float64))
        centred = flat.astype(np.float64)
        centred -= mean
        return cls(len(flat), float(low), float(high), mean, float(centred @ centred), not_finite)

    @classmethod
    def _of_octets(cls, flat: np.ndarray, low: float, high: float) -> Summary:
        """Of 8-bit integers: how often each of 256 values is there says all, and exactly."""
        offset = 128 if flat.dtype == np.int8 else 0
        octets = flat.view(np.uint8) ^ np.uint8(offset)
        counts = np.bincount(octets, minlength=256)
        values = np.arange(256) - offset
        mean = float(counts @ values) / len(flat)
        return cls(len(flat), low, high, mean, float(counts @ np.square(values - mean)))

    def merge(self, other: Summary) -> Summary:
        """Of the numbers of both. The order matters to the last bits: merge in a fixed one."""
        not_finite = self.not_finite + other.not_finite
        if not self.count or not other.count:
            known = self if self.count else other
            return Summary(
                known.count, known.minimum, known.maximum, known.mean, known.squares, not_finite
            )
        count = self.count + other.count
        difference = other.mean - self.mean
        # Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample
        # variances (1979): no cancellation, unlike sums of squares.
        return Summary(
            count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + difference * (other.count / count),
            self.squares + other.squares + difference**2 * (self.count * other.count / count),
            not_finite,
        )

    def to_json(self) -> dict[str, float | int | None]:
        values: dict[str, float | int | None] = {"count": self.count}
        if self.not_finite:
            values["not_finite"] = self.not_finite
        if self.count:
            values |= {"min": self.minimum, "max": self.maximum, "mean": self.mean, "std": self.std}
        return values

    @classmethod
    def from_json(cls, values: dict[str, float | int]) -> Summary:
        """Its inverse, but for the last bits of `squares`, which `std` is rounded from."""
        count = int(values["count"])
        if not count:
            return cls(not_finite=int(values.get("not_finite", 0)))
        return cls(
            count,
            float(values["min"]),
            float(values["max"]),
            float(values["mean"]),
            float(values["std"]) ** 2 * count,
            int(values.get("not_finite", 0)),
        )
