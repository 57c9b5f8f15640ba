"""A job in a terminal: one frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tfdml.monitoring import names
from tfdml.runs.views.job import Job
from tfdml.runs.views.series import Series
from tfdml.runs.views.spark import legend, part_bar, spark_line
from tfdml.runs.views.task import Task, duration

_STYLES = {
    "training": "green",
    "running": "green",
    "finished": "bold green",
    "starting": "cyan",
    "stopped": "yellow",
    "failed": "bold red",
    "lost": "bold red",
}
_EVENT_STYLES = {"desync": "bold red", "straggler": "yellow", "straggler_gone": "green"}
_MOST_EVENTS = 5
_MOST_CURVES = 4
# From so many characters on there is room for the columns: (width, length of a bar, columns that are left out).
_ROOM: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (128, 36, ()),
    (100, 24, ("host",)),
    (0, 20, ("host", "memory", "restarts")),
)
# What a frame has beside tasks, where it has all; tasks are shown that have no room, too.
_OTHER_LINES = 22
_FEWEST_TASKS = 4
# Measured executions that a bar is the mean of: one by itself may be an odd one.
_RECENT = 5


class Frame:
    """What rich draws of `job` as it is at `time` (seconds since 1970)."""

    def __init__(self, job: Job, time: float):
        self._job = job
        self._time = time

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        colours = console.color_system is not None
        # A screen has a height; a file has not.
        room = len(self._job.tasks) if options.height is None else options.height - _OTHER_LINES
        shown = self._most_notable(max(room, _FEWEST_TASKS))
        parts: list[RenderableType] = [
            self._head(),
            self._progress(options.max_width),
            "",
            self._tasks(shown, colours, options.max_width),
        ]
        if len(shown) < len(self._job.tasks):
            more = len(self._job.tasks) - len(shown)
            parts.append(Text(f"{more} more tasks, of which there is less to say", style="dim"))
        if self._job.is_measured:
            parts.append(legend(colours))
        parts += ["", self._curves(options.max_width)]
        events = self._events()
        if events:
            parts += ["", *events]
        yield Group(*parts)

    def _head(self) -> RenderableType:
        job = self._job
        start = job.chief.now
        assert start is not None
        status = job.status(self._time)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(str(job.model_dir), style="bold")
        text.append("  ")
        text.append(status, style=_style(status))
        if job.record is not None:
            text.append(f"   {job.record.name}")
            text.append(f", {job.record.workers.get('strategy', '')}".rstrip(", "))
        text.append(
            f"   {_count(job.num_workers, 'task')}, {_count(start.num_replicas, 'replica')}"
        )
        if job.global_batch_size:
            text.append(f", global batch size {job.global_batch_size}")
        if job.restarts:
            text.append(f"   {_count(job.restarts, 'restart')}", style="yellow")
        if start.message:
            text.append(f"\n{start.message}", style="red")
        return text

    def _progress(self, width: int) -> RenderableType:
        job = self._job
        start = job.chief.now
        assert start is not None
        step, total = job.step, job.total_steps
        rates = job.chief.values
        words = [
            f"step {step:,}" + (f" of {total:,}" if total else ""),
            f"epoch {min(job.chief.epoch + 1, start.epochs)} of {start.epochs}",
        ]
        for name, unit in (
            (names.EXAMPLES_PER_SECOND, "examples/s"),
            (names.TOKENS_PER_SECOND, "tokens/s"),
            (names.STEPS_PER_SECOND, "steps/s"),
        ):
            if name in rates:
                words.append(f"{short(rates[name])} {unit}")
        seconds = sum(each.seconds for each in job.chief.starts)
        words.append(f"after {duration(seconds)}")
        rate = rates.get(names.STEPS_PER_SECOND)
        if job.status(self._time) == "training" and total and rate:
            words.append(f"{duration(max(total - step, 0) / rate)} to go")
        line = Text("   ".join(words), no_wrap=True, overflow="ellipsis")
        if not total:
            return line
        bar = ProgressBar(
            total=total,
            completed=min(step, total),
            width=min(width, 60),
            complete_style="cyan",
            finished_style="green",
        )
        return Group(line, bar)

    def _most_notable(self, number: int) -> list[Task]:
        """So many tasks, in their order: stragglers first, those in trouble, and the chief."""
        tasks, stragglers = self._job.tasks, self._job.stragglers()
        well = ("training", "finished")
        by_note = sorted(
            tasks,
            key=lambda task: (
                task.name not in stragglers,
                task.state(self._time) in well,
                task is not tasks[0],
            ),
        )
        kept = {task.name for task in by_note[:number]}
        return [task for task in tasks if task.name in kept]

    def _tasks(self, shown: Sequence[Task], colours: bool, width: int) -> Table:
        job = self._job
        _, long, left_out = next(room for room in _ROOM if width >= room[0])
        measured = {task.name: job.anatomy_of(task.name, _RECENT) for task in job.tasks}
        longest = max((sum(_known(parts)) for parts in measured.values()), default=0.0)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        rows = [self._cells(task, measured[task.name], longest, long, colours) for task in shown]
        for name in rows[0]:
            if name not in left_out:
                is_number = name in ("step", "ms/step", "memory", "restarts")
                table.add_column(
                    "" if name == "note" else name,
                    no_wrap=True,
                    justify="right" if is_number else "left",
                    overflow="ellipsis",
                )
        for row in rows:
            table.add_row(*(cell for name, cell in row.items() if name not in left_out))
        return table

    def _cells(
        self,
        task: Task,
        parts: Mapping[str, float | None],
        longest: float,
        long: int,
        colours: bool,
    ) -> dict[str, Text]:
        """By column."""
        state, start = task.state(self._time), task.now
        cause = self._job.stragglers().get(task.name)
        return {
            "task": Text(task.name),
            "state": Text(state, style=_style(state)),
            "step": Text(f"{start.last_step:,}" if start else ""),
            "ms/step": Text(f"{1e3 * sum(_known(parts)):.3g}" if parts else ""),
            "where its time goes": part_bar(parts, longest, long, colours),
            "memory": Text(_bytes(task.values.get(names.MEMORY_BYTES))),
            "host": Text(f"{start.host}:{start.pid}" if start else ""),
            "restarts": Text(str(task.restarts), style="yellow" if task.restarts else "dim"),
            "note": Text(f"straggler: {cause}" if cause else "", style="bold yellow"),
        }

    def _curves(self, width: int) -> Table:
        """The loss, other metrics, and the rate, each with its newest value."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        for name, series in self._shown():
            line = spark_line(series, max(min(width - 40, 80), 10))
            table.add_row(Text(name, style="dim"), short(series.last), Text(line, style="cyan"))
        return table

    def _shown(self) -> list[tuple[str, Series]]:
        job = self._job
        scope = "epoch" if len(job.series("train", "epoch", "loss")) > 1 else "step"
        own = job.chief.series
        metrics = [n for s, c, n in own if s == "train" and c == scope and names.is_metric(n)]
        shown = []
        for name in sorted(metrics, key=lambda each: each != "loss")[:_MOST_CURVES]:
            shown.append((name, job.series("train", scope, name)))
            validation = job.series("validation", "epoch", name)
            if len(validation):
                shown.append((f"{name}, validation", validation))
        rate = job.series("train", "step", names.EXAMPLES_PER_SECOND)
        if len(rate):
            shown.append(("examples/s", rate))
        return shown

    def _events(self) -> Sequence[Text]:
        lines = []
        for event in sorted(self._all_events(), key=lambda each: each["time"])[-_MOST_EVENTS:]:
            at = datetime.fromtimestamp(event["time"]).strftime("%H:%M:%S")
            line = Text()
            line.append(f"{at}  step {event['step']:,}  ", style="dim")
            line.append(event["message"], style=_EVENT_STYLES.get(event["event"], "default"))
            lines.append(line)
        return lines

    def _all_events(self) -> list[dict]:
        seen: dict[str, dict] = {}
        for task in self._job.tasks:
            for event in task.events:
                seen.setdefault(f"{event['time']} {event['message']}", event)
        return list(seen.values())


def short(value: float) -> str:
    """A number in few characters."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e4:
        for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor:
                return f"{value / factor:.1f}{suffix}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _known(parts: Mapping[str, float | None]) -> list[float]:
    return [max(seconds, 0.0) for seconds in parts.values() if seconds is not None]


def _bytes(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _style(state: str) -> str:
    return _STYLES.get(state, "yellow")
