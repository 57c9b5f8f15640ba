"""The charts of one run: its curves, and where the time of a step goes."""

from __future__ import annotations

import math

from tfdml.monitoring import names
from tfdml.monitoring.records import PARTS
from tfdml.runs.views.charts import Curve, legend, line_chart, stacked_bars, stacked_chart
from tfdml.runs.views.html import Html, element, table
from tfdml.runs.views.job import Job
from tfdml.runs.views.series import Series

_MOST_POINTS = 300
# Layers in which there is something to see; more tasks than this have only a bar.
_MOST_TASKS = 8
_PART_CLASSES = {part: f"part-{part}" for part in PARTS}

# What is no metric, in the order of the page: name -> (title, unit, starts at zero, may be logarithmic).
_OTHERS = {
    names.EXAMPLES_PER_SECOND: ("examples/s", "of the whole job", True, False),
    names.TOKENS_PER_SECOND: ("tokens/s", "of the whole job", True, False),
    names.LEARNING_RATE: ("learning rate", "", True, False),
    names.GRADIENT_NORM: ("gradient norm", "before clipping", False, True),
    names.CLIP_RATE: ("clip rate", "part of the measured steps", True, False),
    names.LOSS_SCALE: ("loss scale", "", False, True),
    names.SKIPPED_STEPS: ("skipped steps", "in all", True, False),
    names.RESIDUAL_NORM: ("residual norm", "of error feedback", False, True),
    names.MEMORY_BYTES: ("memory", "bytes, of the chief", True, False),
}


def curves(job: Job) -> Html | None:
    """Training and validation in one chart for each metric; rates, optimizer and memory after them."""
    charts = [_metric(job, name) for name in _metrics(job)]
    for name, (title, unit, from_zero, may_be_log) in _OTHERS.items():
        series = job.series("train", "step", name)
        if len(series) < 2:
            series = job.series("train", "epoch", name)
        if not len(series):
            continue
        if name == names.SKIPPED_STEPS and not any(series.values):
            continue
        curve = Curve("", series.thinned(_MOST_POINTS), "c5")
        charts.append(
            line_chart(title, [curve], unit=unit, from_zero=from_zero, may_be_log=may_be_log)
        )
    ratios = _update_ratios(job)
    if ratios:
        charts.append(ratios)
    return element("div", charts, class_="charts") if charts else None


def _metrics(job: Job) -> list[str]:
    found = [
        name
        for split, scope, name in job.chief.series
        if scope in ("step", "epoch") and names.is_metric(name)
    ]
    return sorted(dict.fromkeys(found), key=lambda name: name != "loss")


def _metric(job: Job, name: str) -> Html:
    shown = []
    within = job.series("train", "step", name)
    train = job.series("train", "epoch", name)
    if len(within) and not len(train):
        shown.append(Curve("training, so far in its epoch", within.thinned(_MOST_POINTS), "c1"))
    elif len(within):
        shown.append(Curve("within epochs", within.thinned(_MOST_POINTS), "c1", "faint"))
    if len(train):
        shown.append(Curve("training", train.thinned(_MOST_POINTS), "c1", _look(train)))
    validation = job.series("validation", "epoch", name)
    if len(validation):
        points = validation.thinned(_MOST_POINTS)
        shown.append(Curve("validation", points, "c2", _look(validation)))
    return line_chart(name, shown, may_be_log="loss" in name)


def _look(series: Series) -> str:
    return "dots" if len(series) < 15 else "line"


def _update_ratios(job: Job) -> Html | None:
    """Of the variables with the largest and the smallest, and those between: at most eight."""
    found = {
        name.removeprefix(names.UPDATE_RATIO): series
        for (split, scope, name), series in job.chief.series.items()
        if scope == "step" and name.startswith(names.UPDATE_RATIO) and len(series)
    }
    if not found:
        return None
    by_size = sorted(found, key=lambda path: -_or_zero(found[path].mean()))
    every = max(math.ceil(len(by_size) / 6), 1)
    chosen = by_size[::every]
    shown = [
        Curve(path, found[path].thinned(_MOST_POINTS), f"c{number}")
        for number, path in enumerate(chosen, 1)
    ]
    note = "of an update to the weights" if every == 1 else f"{len(chosen)} of {len(by_size)}"
    return line_chart("update ratio", shown, unit=note, may_be_log=True)


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def anatomy(job: Job) -> Html:
    """A bar and a row for each task, and layers over the steps."""
    means = {task.name: job.anatomy_of(task.name) for task in job.tasks}
    means = {task: parts for task, parts in means.items() if parts}
    if not means:
        return element(
            "p",
            "Nothing was measured: the run was too short (monitoring.every_steps), or is of a kind that has no steps "
            "that tasks make together (parameter servers, TPU).",
        )
    parts = [part for part in PARTS if any(row[part] is not None for row in means.values())]
    rows = {task: {part: 1e3 * (row[part] or 0.0) for part in parts} for task, row in means.items()}
    own = ("input", "computing", "host")
    sums = {task: sum(max(v, 0.0) for v in row.values()) for task, row in rows.items()}
    share = [sum(row.get(part, 0.0) for part in own) / (sums[t] or 1) for t, row in rows.items()]
    number = len(job.series("train", "anatomy", f"{next(iter(means))}/all"))
    text = f"Means of {number} measured executions, milliseconds a step. "
    if len(rows) > 1 and "computing" in parts:
        shares = " to ".join(dict.fromkeys((f"{min(share):.0%}", f"{max(share):.0%}")))
        text += (
            f"Tasks spend {shares} of a step on work of their own (input, computing, "
            "host); in the rest they wait for each other and exchange gradients."
        )
    cells = [
        [task, *(f"{row[part]:.2f}" for part in parts), f"{sums[task]:.2f}"]
        for task, row in rows.items()
    ]
    layered = [_layers(job, task, parts) for task in list(means)[:_MOST_TASKS]]
    shown = [chart for chart in layered if chart is not None]
    more = len(means) - _MOST_TASKS
    if more > 0:
        shown.append(element("p", f"{more} more tasks have only a bar.", class_="dim"))
    return element(
        "div",
        element("p", text),
        stacked_bars(rows, _PART_CLASSES, unit="ms"),
        legend([(part, _PART_CLASSES[part]) for part in parts]),
        table(["task", *parts, "all, ms"], cells),
        element("div", shown, class_="charts"),
    )


def _layers(job: Job, task: str, parts: list[str]) -> Html | None:
    found = {part: job.series("train", "anatomy", f"{task}/{part}") for part in parts}
    if any(len(series) < 3 for series in found.values()):
        return None
    layers = {
        part: [(step, 1e3 * value) for step, value in series.thinned(_MOST_POINTS)]
        for part, series in found.items()
    }
    return stacked_chart(task, layers, _PART_CLASSES, unit="ms a step")
