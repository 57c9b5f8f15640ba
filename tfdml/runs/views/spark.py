"""Lines and bars of characters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from tfdml.monitoring.records import PARTS
from tfdml.runs.views.series import Series

_LEVELS = "▁▂▃▄▅▆▇"  # not the full block: lines below each other would touch

# Of the parts of a step; told apart also by who sees few colours (Okabe and Ito), and in the order of the legend.
PART_STYLES = {
    "input": "#e69f00",
    "computing": "#009e73",
    "waiting": "#d55e00",
    "communicating": "#0072b2",
    "host": "#cc79a7",
    "unexplained": "#999999",
}
# Where there are no colours, letters tell the parts apart.
_LETTERS = {part: part[0] if part != "communicating" else "x" for part in PARTS}


def spark_line(series: Series, width: int) -> str:
    """`series` in `width` characters at most, the lowest value lowest; a gap where nothing is finite."""
    values = [value for _, value in series.thinned(width)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)

    def level(value: float) -> str:
        if not math.isfinite(value):
            return " "
        if high == low:
            return _LEVELS[0]
        return _LEVELS[round((value - low) / (high - low) * (len(_LEVELS) - 1))]

    return "".join(map(level, values))


def part_bar(parts: Mapping[str, float | None], longest: float, width: int, colours: bool) -> Text:
    """The parts of a step in a row; `longest` seconds are `width` characters."""
    bar = Text(no_wrap=True)
    shown = [(part, max(parts.get(part) or 0.0, 0.0)) for part in PARTS]
    at, seconds = 0, 0.0
    for part, own in shown:
        seconds += own
        # By the sum so far, so that what is rounded does not add up.
        until = min(round(width * seconds / longest), width) if longest > 0 else 0
        cells = until - at
        bar.append("▇" * cells if colours else _LETTERS[part] * cells, style=PART_STYLES[part])
        at = until
    return bar


def legend(colours: bool, parts: Sequence[str] = PARTS) -> Text:
    """Which colour, or letter, is which part."""
    text = Text()
    for part in parts:
        text.append("█ " if colours else f"{_LETTERS[part]} ", style=PART_STYLES[part])
        text.append(f"{part}   ")
    text.rstrip()
    return text
