"""The tasks of a job that this launcher starts, from their start until the last of them has ended."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from tfdml.errors import PREEMPTED_STATUS
from tfdml.heartbeat import STACKS_SIGNAL
from tfdml.launch.diagnosis import hang, lost_because_stopped
from tfdml.launch.failure import Failure, root_cause
from tfdml.launch.guard import Guard
from tfdml.launch.heartbeats import LOOK_SECONDS, Heartbeats, is_stopped
from tfdml.launch.outcome import Outcome
from tfdml.launch.output import Console, TaskOutput
from tfdml.launch.plan import Remote, Task, common_environment
from tfdml.launch.replacements import Replacements
from tfdml.launch.start import Process, Starter

# A task that lost its peer can end before the peer itself has: an exception takes Python a while.
ROOT_CAUSE_SECONDS = 3.0
# Where one task has saved and ended, the others are about to: what they still write must not be torn.
PREEMPTION_SECONDS = 60.0
# What tasks that hang are given to print their stacks.
STACKS_SECONDS = 2.0
# What a task printed arrives when it does; later only if something outside its group holds the
# pipe.
DRAIN_SECONDS = 2.0
# SIGKILL acts at once, but not on a process that waits for a file server.
KILL_SECONDS = 30.0
QUICK_SECONDS = 5.0
# The launcher of another host gives its tasks the same grace period, and has to tell of their end.
REMOTE_SECONDS = 5.0
_SERVED_NOT = (
    "{0} ended with exit status 0 while the chief needs it: the script must come to "
    "`if tfdml.cluster.serve(cluster): raise SystemExit`, which serves until the job is over"
)
_CANNOT_START = (
    b"error: no process could be made for the task; --start_method=spawn may show why.\n"
)


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
    """Starts tasks, waits for them, and ends them all when one fails, none gets on or somebody asks for it.

    `start` and `wait` are for one thread; `stop` is for any, and for signal handlers.
    """

    def __init__(
        self,
        tasks: Sequence[Task | Remote],
        starter: Starter,
        guard: Guard,
        console: Console,
        heartbeats: Heartbeats,
        replacements: Replacements,
        *,
        say: Callable[[str], None],
        log_dir: Path | None = None,
        log_note: str = "",
        grace_period_seconds: float,
    ) -> None:
        self._tasks = tasks
        self._starter = starter
        self._guard = guard
        self._grace_period_seconds = grace_period_seconds
        self._heartbeats = heartbeats
        self._replacements = replacements
        self._chief = replacements.chief  # Of a job in which the other tasks serve; else None.
        self._due: dict[int, float] = {}  # When a task that is lost starts again.
        self._say = say
        self.was_told_to_stop = False

        def output_of(position: int, note: str) -> TaskOutput:
            task = tasks[position]
            return TaskOutput(task.name, position, console, _log_path(log_dir, task), note)

        self._new_output = output_of
        self._outputs = [output_of(position, log_note) for position in range(len(tasks))]
        self._has_remotes = any(isinstance(task, Remote) for task in tasks)
        self._processes: dict[int, Process] = {}
        self._running: set[int] = set()
        self._failures: list[Failure] = []
        self._stopped_returncodes: list[int] = []
        self._stopping = threading.Event()
        # A SimpleQueue, because a signal handler may put into it while the main thread does.
        self._events: SimpleQueue[_Ended | _Stop] = SimpleQueue()

    def start(self) -> None:
        """Begin to start every task, from the main thread; returns before they run."""
        here = [task for task in self._tasks if isinstance(task, Task)]
        if here:
            self._starter.prepare(common_environment(here, os.environ), self._guard)
        for position in range(len(self._tasks)):
            self._begin(position)

    def stop(self, signum: int = signal.SIGTERM, reason: str = "") -> None:
        """End all tasks: by `signum` now, by SIGKILL after the grace period, or on a second SIGINT.

        A second SIGTERM changes nothing: batch systems repeat it while a task saves what it has.
        """
        self.was_told_to_stop = True
        self._events.put(_Stop(signum, reason))

    def pass_on(self, signum: int) -> None:
        """Send a signal to every task that does not ask it to end."""
        for position in tuple(self._running):
            if position in self._processes:
                self._processes[position].pass_on(signum)

    def wait(self) -> Outcome:
        """Block until every task has ended; where a chief runs the script, until that one has."""
        while self._running:
            event = self._next_event(self._look_seconds())
            if isinstance(event, _Stop):
                return self._stopped(event)
            if isinstance(event, _Ended):
                self._note(event)
            elif self._heartbeats.are_silent(sorted(self._running)):
                return self._hung()
            if self._failures:
                stop = self._await_root_cause()
                if stop is not None:
                    return self._stopped(stop)
                failure = self._root_cause()
                self._end_all(signal.SIGTERM, self._grace_period_seconds)
                return Outcome(failure=failure)
            if self._chief is not None:
                if self._chief not in self._running:  # The others would serve for ever.
                    self._end_all(signal.SIGTERM, self._grace_period_seconds)
                    return Outcome()
                self._replacements.look(self._running, self._heartbeats.read(self._chief))
                self._start_due()
        return Outcome()

    def _look_seconds(self) -> float | None:
        look = self._heartbeats.look_seconds
        if self._chief is None:
            return look
        due = min(self._due.values(), default=math.inf) - time.monotonic()
        return max(0.0, min(due, LOOK_SECONDS if look is None else look))

    def _start_due(self) -> None:
        now = time.monotonic()
        for position in [position for position, due in self._due.items() if due <= now]:
            del self._due[position]
            self._outputs[position] = self._new_output(position, ", while the job goes on")
            self._replacements.started(position)
            self._begin(position)

    def _begin(self, position: int) -> None:
        self._running.add(position)
        threading.Thread(target=self._run_task, args=(position,), daemon=True).start()

    def _hung(self) -> Outcome:
        """Let every task show where it stands, and end them."""
        tasks = {i: task for i, task in self._running_here().items() if self._is_watched(i)}
        beats = {i: self._heartbeats.read(i) for i in tasks}
        failure = hang(
            list(tasks.values()),
            list(beats.values()),
            [self._is_stopped(i) for i in tasks],
            timeout_seconds=self._heartbeats.timeout_seconds,
            now=time.monotonic(),
        )
        self._stopping.set()
        for position, beat in beats.items():
            self._outputs[position].show_all()
            # Others have no handler for it, and would end by it.
            if beat.count and position in self._processes:
                self._processes[position].pass_on(STACKS_SIGNAL)
        stop = self._wait_for_end(STACKS_SECONDS)
        if stop is not None:
            return self._stopped(stop)
        self._end_all(signal.SIGTERM, self._grace_period_seconds, is_hung=True)
        return Outcome(failure=failure)

    def _stopped(self, stop: _Stop) -> Outcome:
        # Somebody who stops a job may leave it much time to save. Where nothing can be waited for, or
        # nobody reads the output, there is nothing to save either.
        grace = self._grace_period_seconds
        for position in self._stopped_here():  # It may save, too.
            self._processes[position].end(signal.SIGCONT)
        self._end_all(stop.signum, min(grace, QUICK_SECONDS) if stop.reason else grace)
        returncodes = tuple(self._stopped_returncodes)
        return Outcome(stopped_by=stop.signum, reason=stop.reason, returncodes=returncodes)

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
            process.end(signal.SIGKILL)
        returncode = process.wait()
        ended_at = time.monotonic()
        self._guard.forget(process.pid)
        output.finish(DRAIN_SECONDS)
        self._events.put(_Ended(position, returncode, ended_at))

    def _note(self, event: _Ended) -> None:
        self._running.discard(event.position)
        self._processes.pop(event.position, None)
        output = self._outputs[event.position]
        if self._stopping.is_set():
            self._stopped_returncodes.append(event.returncode)
        is_over = event.returncode == 0 and not self._is_missed(event.position)
        if is_over:
            output.release()
        if is_over or self._stopping.is_set():
            return
        task = self._tasks[event.position]
        failure = Failure(
            task.name,
            event.returncode,
            event.at,
            output.last_lines(),
            cluster=task.cluster if isinstance(task, Task) else None,
            is_host=isinstance(task, Remote),
            is_new=output.is_kept_back,
            greeted=output.greeted,
        )
        if self._chief in self._running and self._is_replaced(event.position, failure):
            return
        # The others are going to fail for want of this one: what they say of it is not the cause. But
        # one that has saved leaves others that save.
        if event.returncode != PREEMPTED_STATUS:
            for position in self._running:
                self._outputs[position].mute()
        if event.returncode == 0:
            failure = replace(failure, returncode=1, told=_SERVED_NOT.format(task.name))
        self._failures.append(failure)

    def _is_missed(self, position: int) -> bool:
        """Whether the chief still needs the task: it serves."""
        task = self._tasks[position]
        serves = isinstance(task, Task) and task.cluster.task_type in ("worker", "ps")
        return serves and self._chief in self._running

    def _is_replaced(self, position: int, failure: Failure) -> bool:
        assert self._chief is not None
        decision = self._replacements.after(position, failure, self._heartbeats.read(self._chief))
        if decision.starts_again:
            self._outputs[position].release()
            self._due[position] = time.monotonic() + decision.after_seconds
        for line in decision.says:
            self._say(line)
        return decision.starts_again

    def _await_root_cause(self) -> _Stop | None:
        """Give a task that may have caused the failure a moment to end, too."""
        since = time.monotonic()
        while self._running and not self._stopped_here():
            cause = root_cause(self._failures)
            patience = 0.0
            if cause.is_preempted and self._chief is None:
                patience = max(PREEMPTION_SECONDS, self._grace_period_seconds)
            elif cause.looks_like_lost_peer:
                patience = ROOT_CAUSE_SECONDS
                if self._has_remotes:  # Whose launcher ends its other tasks before it tells.
                    patience += self._grace_period_seconds
            left = since + patience - time.monotonic()
            event = self._next_event(left) if left > 0 else None
            if event is None:
                break
            if isinstance(event, _Stop):
                return event
            self._note(event)
        return None

    def _root_cause(self) -> Failure:
        cause = root_cause(self._failures)
        stopped = self._stopped_here()
        if not stopped or not cause.looks_like_lost_peer:
            return cause
        here = self._running_here()
        return lost_because_stopped([here[position] for position in stopped], cause)

    def _end_all(self, signum: int, grace_seconds: float, *, is_hung: bool = False) -> None:
        """By `signum` first, but for tasks of this host that are stopped or hang: those notice SIGKILL only."""
        self._stopping.set()
        here = self._running_here()
        if self._chief in self._running and not is_hung and not self._stopped_here():
            self._end_chief(signum, grace_seconds)
        for position in tuple(self._running):
            if position in self._processes:
                at_once = position in here and (is_hung or self._is_stopped(position))
                self._processes[position].end(signal.SIGKILL if at_once else signum)
        if any(position not in self._processes for position in self._running):
            self._starter.close()  # Those that have not been started need not be.
        self._wait_for_end(grace_seconds + (REMOTE_SECONDS if self._has_remotes else 0.0))
        self._signal_all(signal.SIGKILL)
        deadline = time.monotonic() + KILL_SECONDS
        while self._running:
            event = self._next_event(deadline - time.monotonic())
            if event is None:
                break
            if isinstance(event, _Ended):
                self._note(event)

    def _end_chief(self, signum: int, grace_seconds: float) -> None:
        """Before the tasks that serve it, and hold what it may want to save. The evaluator has its own."""
        for position, task in self._running_here().items():
            if position in self._processes and task.cluster.task_type not in ("worker", "ps"):
                self._processes[position].end(signum)
        self._wait_for_end(grace_seconds, only_chief=True)

    def _wait_for_end(self, seconds: float, *, only_chief: bool = False) -> _Stop | None:
        """Until all tasks have ended, or the time is over, or for a stop by somebody in a hurry."""
        deadline = time.monotonic() + seconds
        while self._running and not (only_chief and self._chief not in self._running):
            event = self._next_event(deadline - time.monotonic())
            if event is None:
                break
            if isinstance(event, _Ended):
                self._note(event)
            elif event.signum == signal.SIGINT:
                return event
        return None

    def _is_watched(self, position: int) -> bool:
        """Whether it says that it gets on, or should: tasks that serve wait to be asked."""
        return self._chief in (None, position) or self._is_stopped(position)

    def _is_stopped(self, position: int) -> bool:
        return position in self._processes and is_stopped(self._processes[position].pid)

    def _stopped_here(self) -> list[int]:
        return [position for position in self._running_here() if self._is_stopped(position)]

    def _running_here(self) -> dict[int, Task]:
        """Those of this host that have not ended, by position."""
        return {
            position: task
            for position, task in enumerate(self._tasks)
            if position in self._running and isinstance(task, Task)
        }

    def _signal_all(self, signum: int) -> None:
        for position in tuple(self._running):
            if position in self._processes:
                self._processes[position].end(signum)

    def _next_event(self, seconds: float | None) -> _Ended | _Stop | None:
        """None where nothing happens in that time; with None it may take for ever."""
        try:
            return self._events.get(timeout=None if seconds is None else max(seconds, 0.0))
        except Empty:
            return None


def _log_path(log_dir: Path | None, task: Task | Remote) -> Path | None:
    """For example logs/worker-1.log; other hosts write their own."""
    if log_dir is None or isinstance(task, Remote):
        return None
    return log_dir / f"{task.name.replace(' ', '-')}.log"
