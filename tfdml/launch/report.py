"""What the launcher says itself, apart from its tasks: on the way, and why a job ended as it did."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

from tfdml.launch.failure import Failure
from tfdml.launch.outcome import Outcome
from tfdml.launch.output import GREETING

STOPPED_STATUS = 1


def say(text: str) -> None:
    """The launcher's own words, apart from those of its tasks."""
    with suppress(OSError):  # Of a connection that has ended, or a file on a disk that is full.
        print(f"{GREETING.decode()}{text}", file=sys.stderr, flush=True)


def conclude(outcome: Outcome, log_dir: Path | None) -> int:
    """Say once why the job failed; its exit status."""
    if outcome.reason:
        say(outcome.reason)
        return STOPPED_STATUS
    if outcome.stopped_by is not None:
        say(f"stopped by {signal.Signals(outcome.stopped_by).name}")
    elif outcome.failure is not None:
        say(_report(outcome.failure, log_dir))
    return outcome.status


def last_lines(failure: Failure) -> str:
    """What the task printed last and the console has not shown, for a failure that is not the end."""
    if not failure.last_lines:
        return f"{failure.cause()} and printed nothing"
    return f"{failure.cause()}; its last lines:\n{_indented(failure)}"


def _report(failure: Failure, log_dir: Path | None) -> str:
    summary = failure.summary()
    if failure.needs_no_lines:
        return f"{summary.rstrip('.')}."
    if not failure.last_lines:
        return f"{summary} and printed nothing."
    where = (
        f"All that each task printed is in {log_dir}."
        if log_dir
        else "With --log_dir=DIR everything that each task prints is kept."
    )
    return f"{summary}; its last lines:\n{_indented(failure)}\n{GREETING.decode()}{where}"


def _indented(failure: Failure) -> str:
    return "\n".join(f"  {line}" for line in failure.last_lines)
