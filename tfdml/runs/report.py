"""Runs as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tfdml.errors import DataError
from tfdml.runs import versions
from tfdml.runs.compare import differences
from tfdml.runs.record import RunRecord

_WIDTH = 120  # where the output is no terminal
_STYLES = {
    "finished": "green",
    "running": "cyan",
    "stopped": "yellow",
    "lost": "bold red",
    "failed": "bold red",
}
_SHOWN_METRICS = 4


def print_list(found: Sequence[tuple[Path, RunRecord | DataError]]) -> None:
    """One line for each run."""
    if not found:
        _print("no runs: no directory there has a run.json")
        return
    table = _table("run", "recipe", "status", "started (UTC)", "seconds", "metrics", "versions")
    for path, run in found:
        if isinstance(run, DataError):
            _row(table, str(path), "", Text("damaged", style="bold red"), "", "", str(run), "")
            continue
        metrics = list(run.result.items())
        shown = ", ".join(f"{name} {_text(value)}" for name, value in metrics[:_SHOWN_METRICS])
        _row(
            table,
            str(path),
            run.name,
            _status(run),
            run.started[:16].replace("T", " "),
            f"{run.seconds:,.0f}" if run.ended else "",
            shown + (", ..." if len(metrics) > _SHOWN_METRICS else ""),
            _versions(path),
        )
    _print(table)


def print_run(path: Path, run: RunRecord) -> None:
    """All that its record says, but for settings, which are in config.yaml."""
    facts = _table()
    rows: tuple[tuple[str, str | Text], ...] = (
        ("recipe", run.name),
        ("status", _status(run)),
        ("error", run.message),
        ("command", run.command),
        ("started", run.started),
        ("ended", f"{run.ended}, after {run.seconds:,.0f} s" if run.ended else ""),
        ("starts", str(run.starts) if run.starts > 1 else ""),
        ("workers", _pairs(run.workers)),
        ("hardware", _pairs(run.hardware)),
        ("code", _pairs({**(run.code.get("git") or {}), "script": run.code.get("script")})),
        ("packages", _pairs(run.packages)),
        ("model", _pairs(run.model)),
        *(
            ("data", f"{each['name']} {each['digest'][:12]} {each['location']}")
            for each in run.data
        ),
        ("evaluated", run.evaluated),
        ("versions", _versions(path)),
    )
    for name, value in rows:
        if value:
            _row(facts, Text(name, style="bold"), value)
    parts: list[RenderableType] = [facts]
    if run.result:
        parts += ["", _columns("metric", {"": run.result, **run.compared_with})]
    for feature, slices in run.slices.items():
        names = list(dict.fromkeys(name for values in slices.values() for name in values))
        table = _table(feature, *names)
        for name, values in slices.items():
            _row(table, name, *(_text(values.get(each)) for each in names))
        parts += ["", table]
    _print(*parts)


def print_comparison(paths: Sequence[Path], runs: Sequence[RunRecord]) -> None:
    """Metrics side by side, then what was set, read or installed differently."""
    named = {str(path): run.metrics() for path, run in zip(paths, runs, strict=True)}
    found = differences(runs)
    table = _table("differs in", *named)
    for name, values in found.items():
        _row(table, name, *(_text(value) for value in values))
    _print(_columns("metric", _shown(named, runs)), "", table if found else "nothing else differs")


def _shown(all_metrics: dict[str, dict[str, float]], runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Metrics of the whole test data, and those of slices that are not the same in all runs."""
    whole = {name for run in runs for name in run.result}
    names = dict.fromkeys(name for metrics in all_metrics.values() for name in metrics)
    kept = [
        name
        for name in names
        if name in whole or len({metrics.get(name) for metrics in all_metrics.values()}) > 1
    ]
    return {
        path: {name: metrics.get(name) for name in kept} for path, metrics in all_metrics.items()
    }


def _columns(head: str, columns: dict[str, Any]) -> Table:
    table = _table(head, *columns)
    for name in dict.fromkeys(name for values in columns.values() for name in values):
        _row(table, name, *(_text(values.get(name)) for values in columns.values()))
    return table


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=bool(heads))
    for head in heads or ("", ""):
        table.add_column(head, overflow="fold")
    return table


def _row(table: Table, *cells: str | Text) -> None:
    """Cells as they are: rich takes square brackets for markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _status(run: RunRecord) -> Text:
    return Text(run.shown_status, style=_STYLES.get(run.shown_status, ""))


def _versions(path: Path) -> str:
    current = versions.current(path)
    return ", ".join(
        f"{number} (current)" if number == current else str(number)
        for number in versions.known(path)
    )


def _pairs(values: Any) -> str:
    return ", ".join(
        f"{name} {_text(value)}" for name, value in values.items() if value not in (None, "")
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)


def _print(*parts: RenderableType) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    # Tables fill their lines with spaces to the end.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
