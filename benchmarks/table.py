"""What every benchmark shares: its two flags, its printed table and its JSON rows."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure. `value` is a median over runs; ratios are taken within one run, alternating the two sides.

    Attributes:
        better: "higher" or "lower".
        floor: what must be reached; `target`: where we are going; `baseline`: what it is compared with.
    """

    name: str
    value: float | None
    unit: str
    better: str = "higher"
    floor: float | None = None
    target: float | None = None
    baseline: str = ""


def parse_flags(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer runs, under a minute")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    return parser.parse_args()


def report(title: str, rows: list[Row], json_path: str | None) -> None:
    """Print `rows` as a table and write them to `json_path` if given."""
    table = Table(title=title)
    for column in ("", "value", "unit", "floor", "target", "compared with"):
        table.add_column(column, justify="left" if column in ("", "compared with") else "right")
    for row in rows:
        value = "not run" if row.value is None else f"{row.value:.3g}"
        if row.value is not None and row.value >= 100:
            value = f"{row.value:,.0f}"
        bounds = ["" if bound is None else f"{bound:g}" for bound in (row.floor, row.target)]
        table.add_row(row.name, value, row.unit, *bounds, row.baseline)
    Console(width=None if os.isatty(1) else 120).print(table)
    if json_path:
        with open(json_path, "w", encoding="utf-8") as file:
            json.dump([asdict(row) for row in rows], file, indent=2)
