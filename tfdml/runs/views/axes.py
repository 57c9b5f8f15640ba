"""Where the lines of an axis are, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Values that span more are easier to read in a logarithmic scale.
_LOGARITHMIC_FROM = 50.0


@dataclass(frozen=True)
class Axis:
    """Numbers from `low` to `high`, and the marks between them.

    Attributes:
        is_logarithmic: then `low` is positive.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    is_logarithmic: bool = False

    @classmethod
    def of(
        cls, values: Iterable[float], *, from_zero: bool = False, may_be_log: bool = False
    ) -> Axis:
        """An axis on which all finite `values` are."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        if may_be_log and low > 0 and high / low > _LOGARITHMIC_FROM:
            first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
            every = max(math.ceil((last - first) / 5), 1)
            ticks = tuple(10.0**power for power in range(first, last + 1, every))
            return cls(10.0**first, 10.0**last, ticks, True)
        if from_zero:
            low = min(low, 0.0)
        if high == low:
            high, low = (
                high + (abs(high) * 0.1 or 1.0),
                low - (0.0 if from_zero else abs(low) * 0.1),
            )
        step = _nice((high - low) / 4)
        first_tick = math.floor(low / step) * step
        count = math.ceil((high - first_tick) / step - 1e-9)
        ticks = tuple(first_tick + i * step for i in range(count + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def place(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        if self.is_logarithmic:
            span = math.log(self.high / self.low)
            return math.log(max(value, self.low) / self.low) / span
        return (value - self.low) / (self.high - self.low)


def _nice(step: float) -> float:
    """1, 2 or 5 times a power of ten, at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def number(value: float) -> str:
    """In few characters: 0.0123, 4,567, 12.3M."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    size = abs(value)
    for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= 0.9995 * factor:  # what three digits round up to it
            return f"{value / factor:.3g}{suffix}" if size < 1e15 else f"{value:.3g}"
    if size >= 9999.5:
        return f"{value / 1e3:.3g}k"
    if size >= 999.95:
        return f"{value:,.0f}"
    return f"{value:.4g}" if size >= 1e-4 else f"{value:.1e}"
