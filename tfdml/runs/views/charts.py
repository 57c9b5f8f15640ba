"""Charts as SVG: curves, stacked areas, stacked bars, and a timeline. Colours and fonts are in `style.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfdml.runs.views.axes import Axis, number
from tfdml.runs.views.html import Html, element

_WIDTH, _HEIGHT = 480.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 18.0, 10.0, 40.0
# Of a curve; so many that have a value to read under the mouse.
_MOST_SPOTS = 80

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: in the legend.
        points: (x, y); y that is not finite is a gap.
        colour: one of the classes c1 to c8 of `style.py`.
        look: "line", "faint" (behind, without a name), "dashed" or "dots" (a line with its points).
    """

    name: str
    points: Points
    colour: str = "c1"
    look: str = "line"


def line_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    x_name: str = "step",
    unit: str = "",
    from_zero: bool = False,
    from_origin: bool = False,
    may_be_log: bool = False,
) -> Html:
    """Curves in one picture, with a legend that has their last values.

    Args:
        from_zero: whether y begins at 0; from_origin: both do.
        may_be_log: whether y is logarithmic where values differ much.
    """
    at = [point[0] for curve in curves for point in curve.points]
    x = _x_axis([0.0, *at] if from_origin else at)
    y = Axis.of(
        [point[1] for curve in curves for point in curve.points],
        from_zero=from_zero or from_origin,
        may_be_log=may_be_log,
    )
    drawn = [_grid(x, y, x_name)]
    for curve in sorted(curves, key=lambda each: each.look != "faint"):
        drawn.append(_curve(curve, x, y))
    note = " (logarithmic)" if y.is_logarithmic else ""
    return _figure(
        title,
        f"{unit}{note}".strip(),
        _svg(drawn, title),
        [
            (
                f"{curve.name or 'last'} {number(_last(curve.points))}",
                f"{curve.colour} {curve.look}",
            )
            for curve in curves
            if curve.look != "faint"
        ],
    )


def stacked_chart(
    title: str, layers: Mapping[str, Points], classes: Mapping[str, str], *, unit: str
) -> Html:
    """Layers of the same x on top of each other, the first lowest."""
    names = list(layers)
    steps = [point[0] for point in layers[names[0]]]
    sums = [0.0] * len(steps)
    edges = [list(sums)]
    for name in names:
        sums = [s + max(v, 0.0) for s, (_, v) in zip(sums, layers[name], strict=True)]
        edges.append(sums)
    x = _x_axis(steps)
    # By most of the steps: one that took ten times as long would make all others a line at the bottom.
    tallest = sorted(sums)[max(math.ceil(len(sums) * 0.98) - 1, 0)]
    y = Axis.of([0.0, tallest * 1.05], from_zero=True)
    drawn = [_grid(x, y, "step")]
    for number_, name in enumerate(names):
        below = [_at(s, min(v, y.high), x, y) for s, v in zip(steps, edges[number_], strict=True)]
        above = [
            _at(s, min(v, y.high), x, y) for s, v in zip(steps, edges[number_ + 1], strict=True)
        ]
        outline = " L".join([*above, *reversed(below)])
        drawn.append(
            element("path", element("title", name), d=f"M{outline}Z", class_=classes[name])
        )
    return _figure(title, unit, _svg(drawn, title), [])


def stacked_bars(
    rows: Mapping[str, Mapping[str, float]], classes: Mapping[str, str], *, unit: str
) -> Html:
    """One bar for each row, its parts after each other."""
    longest = max((sum(max(v, 0.0) for v in row.values()) for row in rows.values()), default=1.0)
    left, height, gap = 110.0, 22.0, 8.0
    width = 2 * _WIDTH
    drawn = []
    for index, (name, row) in enumerate(rows.items()):
        top = index * (height + gap)
        drawn.append(element("text", name, x=left - 8, y=top + 15, class_="right"))
        at = left
        total = sum(max(value, 0.0) for value in row.values())
        for part, value in row.items():
            long = max(value, 0.0) / (longest or 1.0) * (width - left - 90)
            told = f"{name}: {part} {number(value)} {unit}, {value / (total or 1.0):.0%}"
            drawn.append(
                element(
                    "rect",
                    element("title", told),
                    x=at,
                    y=top,
                    width=long,
                    height=height,
                    class_=classes[part],
                )
            )
            at += long
        drawn.append(element("text", f"{number(total)} {unit}", x=at + 8, y=top + 15))
    box = f"0 0 {width:g} {len(rows) * (height + gap):g}"
    return element("svg", drawn, viewBox=box, role="img", class_="bars")


@dataclass(frozen=True)
class Span:
    """What was from `begin` to `end`, in seconds."""

    begin: float
    end: float
    kind: str
    told: str


def timeline(rows: Mapping[str, Sequence[Span]]) -> Html:
    """Spans of each row by time, from the first of all."""
    spans = [span for row in rows.values() for span in row]
    zero = min(span.begin for span in spans)
    longest = max(max(span.end for span in spans) - zero, 1e-3)
    left, height, gap = 110.0, 18.0, 8.0
    width = 2 * _WIDTH
    drawn = []
    for index, (name, row) in enumerate(rows.items()):
        top = index * (height + gap)
        drawn.append(element("text", name, x=left - 8, y=top + 13, class_="right"))
        for span in row:
            at = left + (span.begin - zero) / longest * (width - left - 8)
            long = max((span.end - span.begin) / longest * (width - left - 8), 2.0)
            drawn.append(
                element(
                    "rect",
                    element("title", span.told),
                    x=at,
                    y=top,
                    width=long,
                    height=height,
                    class_=f"span {span.kind}",
                )
            )
    box = f"0 0 {width:g} {len(rows) * (height + gap):g}"
    return element("svg", drawn, viewBox=box, role="img", class_="bars")


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """Names beside squares; entries are (name, class)."""
    return element(
        "p",
        [
            element("span", element("i", class_=class_), name, class_="entry")
            for name, class_ in entries
        ],
        class_="legend",
    )


def _figure(title: str, note: str, svg: Html, entries: Sequence[tuple[str, str]]) -> Html:
    heading = element("figcaption", title, element("small", f" {note}") if note else None)
    return element("figure", heading, svg, legend(entries) if entries else None)


def _svg(drawn: Sequence[Html], title: str) -> Html:
    box = f"0 0 {_WIDTH:g} {_HEIGHT:g}"
    return element("svg", drawn, viewBox=box, role="img", aria_label=title)


def _grid(x: Axis, y: Axis, x_name: str) -> Html:
    drawn = []
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for tick in y.ticks:
        height = _y(tick, y)
        drawn.append(element("line", x1=_LEFT, x2=right, y1=height, y2=height, class_="grid"))
        drawn.append(element("text", number(tick), x=_LEFT - 6, y=height + 4, class_="right"))
    for tick in x.ticks:
        if x.low <= tick <= x.high:
            at = _x(tick, x)
            drawn.append(element("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="axis"))
            drawn.append(element("text", number(tick), x=at, y=bottom + 18, class_="middle"))
    drawn.append(element("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    drawn.append(element("text", x_name, x=(_LEFT + right) / 2, y=bottom + 35, class_="middle dim"))
    return element("g", drawn)


def _curve(curve: Curve, x: Axis, y: Axis) -> Html:
    path, pen = [], "M"
    spots = []
    every = max(math.ceil(len(curve.points) / _MOST_SPOTS), 1)
    for index, (at, value) in enumerate(curve.points):
        if not math.isfinite(value):
            pen = "M"
            continue
        path.append(f"{pen}{_at(at, value, x, y)}")
        pen = "L"
        if curve.look == "faint" or index % every:
            continue
        told = element("title", f"{curve.name} {number(value)} at {number(at)}".strip())
        spots.append(element("circle", told, cx=_x(at, x), cy=_y(value, y), r=3.0))
    line = element("path", d="".join(path), class_="curve")
    return element("g", line, spots, class_=f"{curve.colour} {curve.look}")


def _x_axis(values: Sequence[float]) -> Axis:
    """From the first to the last of `values`: curves fill the width."""
    nice = Axis.of(values)
    low, high = min(values, default=nice.low), max(values, default=nice.high)
    return Axis(low, high if high > low else low + 1, nice.ticks)


def _x(value: float, axis: Axis) -> float:
    return round(_LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float, axis: Axis) -> float:
    return round(_HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _at(x_value: float, y_value: float, x: Axis, y: Axis) -> str:
    return f"{_x(x_value, x):g},{_y(y_value, y):g}"


def _last(points: Points) -> float:
    return next((value for _, value in reversed(points) if math.isfinite(value)), math.nan)
