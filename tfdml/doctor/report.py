"""How findings are shown: a table a section for people, one JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tfdml.doctor.finding import LEVELS, Finding, would_fail
from tfdml.version import __version__

WIDTH = 110  # Where the output is no terminal.
_STYLES = dict(zip(LEVELS, ("green", "cyan", "yellow", "bold red"), strict=True))


class TableReport:
    """Prints each section when it is there, and what would fail at the end, with remedies."""

    def __init__(self, file: TextIO):
        self._file = file
        self._console = Console(file=file, highlight=False)
        if not self._console.is_terminal:
            self._console.width = WIDTH
        self._findings: list[Finding] = []

    def add(self, section: str, findings: Sequence[Finding]) -> None:
        self._findings += findings
        self._print(Text(section, style="bold"), _table(findings), "")

    def end(self) -> None:
        errors = [finding for finding in self._findings if finding.level == "error"]
        if errors:
            head = Text(f"What would fail: {len(errors)}", style="bold red")
            self._print(head, *map(_error, errors))
            return
        warnings = sum(finding.level == "warning" for finding in self._findings)
        count = f"; {warnings} warning(s)" if warnings else ""
        self._print(Text(f"Nothing here would fail{count}.", style="bold green"))

    def _print(self, *parts: RenderableType) -> None:
        with self._console.capture() as captured:
            for part in parts:
                self._console.print(part)
        # Tables fill their lines with spaces to the end.
        lines = [line.rstrip() for line in captured.get().splitlines()]
        self._file.write("\n".join(lines) + "\n")
        self._file.flush()


def _error(finding: Finding) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(f"  {finding.name}", style="bold"), Text(finding.text))
    if finding.remedy:
        table.add_row("", Text(finding.remedy, style="cyan"))
    return table


def _table(findings: Iterable[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(no_wrap=True, min_width=14)
    table.add_column(overflow="fold")
    for finding in findings:
        level = Text(f"  {finding.level}", style=_STYLES[finding.level])
        table.add_row(level, finding.name, Text(finding.text))
        # Those of errors stand at the end, where nobody has to look for them.
        if finding.remedy and finding.level not in ("ok", "error"):
            table.add_row("", "", Text(finding.remedy, style="dim"))
    return table


def as_json(findings: Sequence[Finding]) -> str:
    """One JSON document: `would_fail`, and every finding with its name, level, text, remedy and figures."""
    document = {
        "tfdml": __version__,
        "would_fail": would_fail(findings),
        "findings": [finding.as_json() for finding in findings],
    }
    return json.dumps(document, indent=2)
