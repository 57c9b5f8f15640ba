"""A handle on one task: its process, its output, how it ended."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from tfdml.testing.task import OUTCOME_FILE, OUTPUT_FILE, Assignment, Outcome, run_task

# Of every task's output, an error message keeps the end.
OUTPUT_CHARACTERS = 20_000


class WorkerError(RuntimeError):
    """A task raised, died or ran out of time; has the first failure and every task's output."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no result. `at` is `time.monotonic()`; a death has no traceback."""

    at: float
    reason: str
    traceback: str = ""


class Worker:
    """One task. `pid` leads a process group of its own, so that its children end with it."""

    def __init__(self, name: str, context: ForkServerContext, assignment: Assignment):
        self.name = name
        self._directory = Path(assignment.directory)
        self._outcome: Outcome | None = None
        self._failure: Failure | None = None
        self._closed_output: str | None = None
        self._link: Connection
        self._link, far_end = context.Pipe(duplex=False)
        self._process: ForkServerProcess = context.Process(
            target=run_task, args=(assignment, far_end), name=name
        )
        self._process.start()
        far_end.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def finished(self) -> bool:
        """Whether the function has returned or raised, or the process has died."""
        if self._outcome is None and self._failure is None:
            self._look()
        return self._outcome is not None or self._failure is not None

    @property
    def failure(self) -> Failure | None:
        """Why the task has failed; None while it runs and after it has returned."""
        return self._failure if self.finished else None

    @property
    def exit_code(self) -> int | None:
        """None while the process lives, -N after signal N."""
        return self._process.exitcode

    @property
    def result(self) -> Any:
        """What the function returned. Only after `finished`, and where there is no `failure`."""
        assert self._outcome is not None and self.failure is None
        return self._outcome.value

    @property
    def waitables(self) -> list[Any]:
        """For `multiprocessing.connection.wait`: one is ready when the task may have finished."""
        return [self._link, self._process.sentinel]

    def output(self) -> str:
        """Standard output and error so far, native output included."""
        if self._closed_output is not None:
            return self._closed_output
        path = self._directory / OUTPUT_FILE
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to the task's process, and only to it."""
        if self._process.exitcode is None:
            # It may have ended this moment, and its parent is not this process.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    def end(self) -> None:
        """SIGKILL the process and everything that it started; wait until it is gone."""
        if not self.finished:
            self._failure = Failure(time.monotonic(), "was still running and was ended")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.kill()  # the group does not exist yet if the task was only just forked
        self._process.join()
        self._closed_output = self.output()
        self._link.close()

    def report(self, with_traceback: bool) -> str:
        """State and output, for an error message."""
        state = self.failure.reason if self.failure else "returned" if self.finished else "runs"
        lines = [f"===== {self.name} {state} ====="]
        text = self.output().rstrip()
        if len(text) > OUTPUT_CHARACTERS:
            text = "[...]" + text[-OUTPUT_CHARACTERS:]
        lines.append(text or "(no output)")
        if with_traceback and self.failure and self.failure.traceback:
            lines.append(self.failure.traceback.rstrip())
        return "\n".join(lines)

    def _look(self) -> None:
        # In this order: a task that leaves has written its outcome before its process ended.
        exit_code = self._process.exitcode
        path = self._directory / OUTCOME_FILE
        if path.exists():
            outcome: Outcome = pickle.loads(path.read_bytes())
            if outcome.error is None:
                self._outcome = outcome
            else:
                self._failure = Failure(outcome.at, f"raised {outcome.error}", outcome.traceback)
        elif exit_code is not None:
            self._failure = Failure(time.monotonic(), _died(exit_code))


def _died(exit_code: int) -> str:
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"exited with status {exit_code} before its function returned"
