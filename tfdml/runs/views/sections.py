"""Parts of the page that are tables, mostly: what a run is beside others, and what is known of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tfdml.monitoring import names
from tfdml.runs.compare import differences
from tfdml.runs.views.axes import number
from tfdml.runs.views.charts import Curve, Span, legend, line_chart, timeline
from tfdml.runs.views.html import Html, element, facts, table
from tfdml.runs.views.job import Job
from tfdml.runs.views.scaling import scaling
from tfdml.runs.views.style import CLASSES
from tfdml.runs.views.task import duration
from tfdml.runs.views.worker_time import WorkerTime

_MOST_POINTS = 300
_MOST_EVENTS = 200
_MOST_METRICS = 4

Named = Sequence[tuple[str, Job]]


def comparison(jobs: Named) -> Html:
    """Runs in one chart for each metric, a row for each, and what differs in how they were made."""
    metrics = dict.fromkeys(
        name
        for _, job in jobs
        for split, scope, name in job.chief.series
        if scope == "epoch" and names.is_metric(name)
    )
    charts = []
    for name in sorted(metrics, key=lambda each: each != "loss")[:_MOST_METRICS]:
        shown = []
        for index, (run, job) in enumerate(jobs):
            series = job.series("validation", "epoch", name)
            split = "validation" if len(series) else "training"
            if not len(series):
                series = job.series("train", "epoch", name)
            if len(series):
                colour = CLASSES[index % len(CLASSES)]
                shown.append(Curve(f"{run}, {split}", series.thinned(_MOST_POINTS), colour))
        if shown:
            charts.append(line_chart(name, shown, may_be_log="loss" in name))
    rows = []
    for run, job in jobs:
        spent = WorkerTime.of(job)
        rows.append(
            [
                run,
                job.status(time.time()),
                f"{job.step:,}",
                *(_last(job, name) for name in list(metrics)[:_MOST_METRICS]),
                number(spent.hours),
                str(job.restarts),
            ]
        )
    heads = ["run", "status", "steps", *list(metrics)[:_MOST_METRICS], "worker-hours", "restarts"]
    return element(
        "div",
        element("div", charts, class_="charts"),
        table(heads, rows),
        _differences(jobs),
    )


def _last(job: Job, name: str) -> str:
    for split in ("validation", "train"):
        series = job.series(split, "epoch", name)
        if len(series):
            return number(series.last)
    return "-"


def _differences(jobs: Named) -> Html | None:
    records = [job.record for _, job in jobs if job.record is not None]
    if len(records) != len(jobs):
        return None
    found = differences(records)
    rows = [[name, *(_shown(value) for value in values)] for name, values in found.items()]
    if not rows:
        return element("p", "Nothing else differs in how they were made.", class_="dim")
    heads = ["differs in", *(name for name, _ in jobs)]
    return element("details", element("summary", "What differs"), table(heads, rows))


def efficiency(jobs: Named) -> Html:
    """Examples/s by replicas, beside what they would be if replicas did not cost each other anything."""
    found = [each for each in scaling(jobs) if math.isfinite(each.rate)]
    if not found:
        return element("p", "No rate is known yet.")
    rows = [
        [
            each.name,
            str(each.workers),
            str(each.replicas),
            number(each.rate),
            f"{each.speedup:.2f}x",
            f"{each.efficiency:.0%}",
        ]
        for each in found
    ]
    shown: list[Html] = []
    sizes = {each.replicas for each in found}
    if len(sizes) > 1:
        base = found[0]
        per_replica = base.rate / base.replicas
        most = max(sizes)
        ideal = [(0.0, 0.0), (float(most), per_replica * most)]
        curves = [
            Curve("ideal", ideal, "c8", "dashed"),
            Curve("measured", [(float(e.replicas), e.rate) for e in found], "c1", "dots"),
        ]
        shown.append(
            element(
                "div",
                line_chart("examples/s by replicas", curves, x_name="replicas", from_origin=True),
                class_="charts",
            )
        )
        text = (
            f"Efficiency is the rate of one replica over that of one replica of {base.name}, which has the fewest. "
            "Rates are medians of epochs, without the first."
        )
    else:
        text = (
            "Runs with other numbers of workers tell how well this one scales: "
            "tfdml report MODEL_DIR --compare OTHER_DIR ..."
        )
    heads = ["run", "workers", "replicas", "examples/s", "speed-up", "efficiency"]
    return element("div", element("p", text, class_="dim"), shown, table(heads, rows))


def exchange(job: Job) -> Html:
    """Bytes on the wire."""
    start = job.chief.now
    series = job.series("train", "epoch", names.WIRE_BYTES)
    if start is None or not len(series):
        return element("p", "Gradients do not travel in this run, or no epoch has ended yet.")
    a_step = series.last
    ratio = job.series("train", "epoch", names.COMPRESSION_RATIO)
    total = a_step * job.step
    rows: list[tuple[str, Html | str | None]] = [
        ("received by a replica in a step", size(a_step)),
        ("by a replica in the whole run", size(total)),
        ("by all replicas in the whole run", size(total * start.num_replicas)),
        (
            "compression",
            f"{ratio.last:.3g} times fewer bytes than dense float32" if len(ratio) else "none",
        ),
    ]
    steps = job.series("train", "step", names.STEPS_PER_SECOND)
    if len(steps):
        rows.append(("by a replica in a second", size(a_step * steps.mean())))
    return facts(rows)


def restarts(job: Job) -> Html:
    """When each task ran, and what restarts cost."""
    spans: dict[str, list[Span]] = {}
    kinds: dict[str, None] = {}
    rows = []
    for task in job.tasks:
        for number_, start in enumerate(task.starts):
            is_last = start is task.starts[-1]
            kind = start.status or (task.state(time.time()) if is_last else "lost")
            kind = kind.split()[0]
            kinds.setdefault(kind)
            told = (
                f"{task.name}, start {number_ + 1}: steps {start.step:,} to {start.last_step:,}, "
                f"{duration(start.seconds)}, {kind} {start.message}"
            )
            spans.setdefault(task.name, []).append(Span(start.began, start.last, kind, told))
            rows.append(
                [
                    task.name,
                    str(number_ + 1),
                    clock(start.began),
                    f"{start.host}:{start.pid}",
                    f"{start.step:,}",
                    f"{start.last_step:,}",
                    duration(start.seconds),
                    f"{kind} {start.message}".strip(),
                ]
            )
    spent = WorkerTime.of(job)
    if job.restarts:
        text = (
            f"{job.restarts} restart{'s' * (job.restarts != 1)}: {spent.repeated_steps:,} steps were trained again, "
            f"and {duration(spent.idle_seconds)} passed between a start's last sign of life and the next start."
        )
    else:
        text = "No restarts."
    begin = min(span.begin for row in spans.values() for span in row)
    end = max(span.end for row in spans.values() for span in row)
    text += f" From the first start to the last word: {duration(end - begin)}, as drawn here."
    heads = ["task", "start", "began", "process", "from step", "to step", "for", "ended"]
    return element(
        "div",
        element("p", text),
        timeline(spans),
        legend([(kind, f"span {kind}") for kind in kinds]),
        element("details", element("summary", "All starts"), table(heads, rows)),
    )


def events(job: Job) -> Html:
    """Stragglers, differences between replicas, warnings."""
    found = sorted(
        (event for task in job.tasks for event in task.events), key=lambda each: each["time"]
    )
    if not found:
        return element("p", "None: no straggler was found, and replicas held the same weights.")
    rows = [
        [clock(each["time"]), f"{each['step']:,}", each["event"], each["task"], each["message"]]
        for each in found[-_MOST_EVENTS:]
    ]
    left_out = len(found) - len(rows)
    note = f"The first {left_out:,} are left out." if left_out > 0 else None
    return element(
        "div",
        element("p", note, class_="dim") if note else None,
        table(["time", "step", "event", "task", ""], rows),
    )


def environment(job: Job) -> Html:
    """On what, with what, from what."""
    hosts = dict.fromkeys(task.now.host for task in job.tasks if task.now)
    record = job.record
    if record is None:
        rows: list[tuple[str, Any]] = [("hosts", ", ".join(hosts))]
        note = "The program is no recipe, so there is no run.json that would say more."
        return element("div", facts(rows), element("p", note, class_="dim"))
    git = record.code.get("git") or {}
    revision = f"{git.get('revision', '')}{' (modified)' if git.get('modified') else ''}"
    rows = [
        ("command", element("code", record.command)),
        ("hosts", ", ".join(hosts)),
        *(
            ("memory", size(value)) if name == "memory_bytes" else (name, _shown(value))
            for name, value in record.hardware.items()
            if name != "host"
        ),
        ("workers", _shown(dict(record.workers))),
        ("script", _shown(record.code.get("script"))),
        ("revision", revision),
        ("packages", ", ".join(f"{name} {version}" for name, version in record.packages.items())),
        ("model", _shown(dict(record.model))),
        *(
            ("data", f"{each.get('name')} {str(each.get('digest'))[:12]} {each.get('location')}")
            for each in record.data
        ),
    ]
    return facts(rows)


def settings(job: Job) -> Html | None:
    """The configuration, by path."""
    values = job.chief.settings
    if not values:
        return None
    rows = [[name, _shown(value)] for name, value in values.items()]
    many = table(["setting", "value"], rows, class_="mono")
    return element("details", element("summary", f"{len(rows)} settings"), many)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return str(value)


def clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def size(value: float) -> str:
    """Bytes, in units of 1000."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} bytes"
