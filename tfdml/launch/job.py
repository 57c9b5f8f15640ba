"""The tasks of a job on this host, from their start until the last of them has ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from tfdml.launch.failure import Failure, root_cause
from tfdml.launch.guard import Guard
from tfdml.launch.output import Console, TaskOutput
from tfdml.launch.plan import Task, common_environment
from tfdml.launch.start import Process, Starter, kill_group

# A task that lost its peer can end before the peer itself has: an exception takes Python a while.
ROOT_CAUSE_SECONDS = 3.0
# What a task printed arrives when it does; later only if something outside its group holds the
# pipe.
DRAIN_SECONDS = 2.0
# SIGKILL acts at once, but not on a process that waits for a file server.
KILL_SECONDS = 30.0
_CANNOT_START = (
    b"error: no process could be made for the task; --start_method=spawn may show why.\n"
)


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `failure` is the root cause, `stopped_by` the signal to stop it."""

    failure: Failure | None = None
    stopped_by: int | None = None
    reason: str = ""

    @property
    def status(self) -> int:
        """The launcher's exit status."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        return self.failure.status if self.failure else 0


@dataclass(frozen=True)
class _Ended:
    position: int
    returncode: int
    at: float


@dataclass(frozen=True)
class _Stop:
    signum: int
    reason: str


class Job:
    """Starts tasks, waits for them, and ends them all when one fails or somebody asks for it.

    `start` and `wait` are for one thread; `stop` is for any, and for signal handlers.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        starter: Starter,
        guard: Guard,
        console: Console,
        *,
        log_dir: Path | None = None,
        grace_period_seconds: float,
    ) -> None:
        self._tasks = tasks
        self._starter = starter
        self._guard = guard
        self._grace_period_seconds = grace_period_seconds
        self._outputs = [
            TaskOutput(task.name, i, console, log_dir and log_path(log_dir, task))
            for i, task in enumerate(tasks)
        ]
        self._processes: dict[int, Process] = {}
        self._running: set[int] = set()
        self._failures: list[Failure] = []
        self._stopping = threading.Event()
        # A SimpleQueue, because a signal handler may put into it while the main thread does.
        self._events: SimpleQueue[_Ended | _Stop] = SimpleQueue()

    def start(self) -> None:
        """Begin to start every task, from the main thread; returns before they run."""
        self._starter.prepare(common_environment(self._tasks, os.environ))
        for position in range(len(self._tasks)):
            self._running.add(position)
            threading.Thread(target=self._run_task, args=(position,), daemon=True).start()

    def stop(self, signum: int = signal.SIGTERM, reason: str = "") -> None:
        """End all tasks: by `signum` now, by SIGKILL after the grace period or a second call."""
        self._events.put(_Stop(signum, reason))

    def wait(self) -> Outcome:
        """Block until every task has ended."""
        while self._running:
            event = self._events.get()
            if isinstance(event, _Stop):
                self._end_all(event.signum)
                return Outcome(stopped_by=event.signum, reason=event.reason)
            self._note(event)
            if self._failures:
                stop = self._await_root_cause()
                self._end_all(signal.SIGTERM)
                if stop is not None:
                    return Outcome(stopped_by=stop.signum, reason=stop.reason)
                return Outcome(failure=root_cause(self._failures))
        return Outcome()

    def _run_task(self, position: int) -> None:
        """A thread for each task: start it, wait for it, tell."""
        output = self._outputs[position]
        try:
            process = self._starter.start(self._tasks[position], output.write_fd, self._guard)
        except (OSError, EOFError):
            # Where the process that tasks are forked from dies of its import, as on a processor
            # that TensorFlow was not built for, or where `close` has ended it.
            os.write(output.write_fd, _CANNOT_START)
            output.close_write_end()
            output.finish(DRAIN_SECONDS)
            self._events.put(_Ended(position, 1, time.monotonic()))
            return
        self._processes[position] = process
        output.close_write_end()
        if self._stopping.is_set():
            kill_group(process.pid, signal.SIGKILL)
        returncode = process.wait()
        ended_at = time.monotonic()
        self._guard.forget(process.pid)
        output.finish(DRAIN_SECONDS)
        self._events.put(_Ended(position, returncode, ended_at))

    def _note(self, event: _Ended) -> None:
        self._running.discard(event.position)
        output = self._outputs[event.position]
        if event.returncode == 0:
            output.release()
        if event.returncode == 0 or self._stopping.is_set():
            return
        # The others are going to fail for want of this one: what they say of it is not the cause.
        for position in self._running:
            self._outputs[position].mute()
        name = self._tasks[event.position].name
        self._failures.append(Failure(name, event.returncode, event.at, output.last_lines()))

    def _await_root_cause(self) -> _Stop | None:
        """Give a task that may have caused the failure a moment to end, too."""
        deadline = time.monotonic() + ROOT_CAUSE_SECONDS
        while self._running and root_cause(self._failures).looks_like_lost_peer:
            event = self._next_event(deadline)
            if event is None:
                break
            if isinstance(event, _Stop):
                return event
            self._note(event)
        return None

    def _end_all(self, signum: int) -> None:
        self._stopping.set()
        self._signal_all(signum)
        if any(position not in self._processes for position in self._running):
            self._starter.close()  # Those that have not been started need not be.
        deadline = time.monotonic() + self._grace_period_seconds
        while self._running and signum != signal.SIGKILL:
            event = self._next_event(deadline)
            if not isinstance(event, _Ended):
                break
            self._note(event)
        self._signal_all(signal.SIGKILL)
        deadline = time.monotonic() + KILL_SECONDS
        while self._running:
            event = self._next_event(deadline)
            if event is None:
                break
            if isinstance(event, _Ended):
                self._note(event)

    def _signal_all(self, signum: int) -> None:
        for position in tuple(self._running):
            if position in self._processes:
                kill_group(self._processes[position].pid, signum)

    def _next_event(self, deadline: float) -> _Ended | _Stop | None:
        try:
            return self._events.get(timeout=max(deadline - time.monotonic(), 0.0))
        except Empty:
            return None


def log_path(log_dir: Path, task: Task) -> Path:
    """For example logs/worker-1.log."""
    return log_dir / f"{task.name.replace(' ', '-')}.log"
