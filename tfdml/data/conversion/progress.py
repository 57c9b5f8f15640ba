"""How far a conversion is: a bar with rate and time left on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

_LINE_EVERY_SECONDS = 30.0


class Progress(Protocol):
    """What the converter tells while it works."""

    def phase(
        self, name: str, *, total_bytes: int, done_bytes: int
    ) -> AbstractContextManager[None]:
        """A part of the work begins; `done_bytes` of it were finished by an earlier run."""
        ...

    def rows(self, rows: int, num_bytes: int) -> None:
        """So many rows more; and bytes, where the phase counts bytes by the row."""
        ...

    def advance(self, num_bytes: int) -> None:
        """So many bytes of the phase more."""
        ...

    def note(self, text: str) -> None:
        """A line that stays."""
        ...


class Silent:
    """Nothing is shown."""

    def phase(
        self, name: str, *, total_bytes: int, done_bytes: int
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def rows(self, rows: int, num_bytes: int) -> None:
        pass

    def advance(self, num_bytes: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def shown() -> Progress:
    """The one for a command line: on standard error."""
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Meter:
    """Counts what a phase has done since it began."""

    def __init__(self, total_bytes: int, done_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.done_bytes = self.found_bytes = done_bytes
        self.rows = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-3)

    def speed(self) -> str:
        """`12,345 records/s, 83.1 MB/s`."""
        rate = (self.done_bytes - self.found_bytes) / self.seconds / 1e6
        return f"{self.rows / self.seconds:,.0f} records/s, {rate:,.1f} MB/s"

    def seconds_left(self) -> float | None:
        done = self.done_bytes - self.found_bytes
        return (self.total_bytes - self.done_bytes) * self.seconds / done if done else None


class _Lines:
    """For a log file: a line at the end of each phase, and every half minute in a long one."""

    def __init__(self) -> None:
        self._name = ""
        self._meter = _Meter(0, 0)
        self._next = 0.0

    @contextmanager
    def phase(self, name: str, *, total_bytes: int, done_bytes: int) -> Iterator[None]:
        self._name, self._meter = name, _Meter(total_bytes, done_bytes)
        self._next = time.monotonic() + _LINE_EVERY_SECONDS
        yield
        print(f"{name}: done, {self._meter.speed()}", file=sys.stderr, flush=True)

    def rows(self, rows: int, num_bytes: int) -> None:
        self._meter.rows += rows
        self.advance(num_bytes)

    def advance(self, num_bytes: int) -> None:
        meter = self._meter
        meter.done_bytes += num_bytes
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_EVERY_SECONDS
            part = meter.done_bytes / max(meter.total_bytes, 1)
            left = meter.seconds_left()
            eta = "" if left is None else f", {left:,.0f} s left"
            print(f"{self._name}: {part:.0%}, {meter.speed()}{eta}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class _Bar:
    """For a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
        )
        self._task = self._bar.add_task("", speed="")
        self._meter = _Meter(0, 0)

    @contextmanager
    def phase(self, name: str, *, total_bytes: int, done_bytes: int) -> Iterator[None]:
        self._meter = _Meter(total_bytes, done_bytes)
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total_bytes, completed=done_bytes, speed="")
        with self._bar:
            yield
            self.advance(0)

    def rows(self, rows: int, num_bytes: int) -> None:
        self._meter.rows += rows
        self.advance(num_bytes)

    def advance(self, num_bytes: int) -> None:
        self._meter.done_bytes += num_bytes
        self._bar.update(self._task, completed=self._meter.done_bytes, speed=self._meter.speed())

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)
