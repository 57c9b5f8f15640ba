"""Runs the tasks of a job, and runs them again: what outlives one start of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from tfdml import heartbeat
from tfdml.cluster.peer_watch import PeerWatch
from tfdml.cluster.spec import ClusterSpec
from tfdml.launch.control import Control
from tfdml.launch.guard import Guard
from tfdml.launch.heartbeats import HeartbeatDirectory, Heartbeats
from tfdml.launch.job import Job
from tfdml.launch.outcome import Outcome
from tfdml.launch.output import Console
from tfdml.launch.plan import Remote, Task
from tfdml.launch.replacements import Replacements
from tfdml.launch.report import last_lines, say
from tfdml.launch.restarts import Restarts
from tfdml.launch.settings import Settings
from tfdml.launch.start import Starter

RESTART_VARIABLE = "TFDML_RESTART"  # Of a task: how many starts of its job came before this one.

Plan = Callable[[Sequence[int]], Sequence[Task | Remote]]


@dataclass(frozen=True)
class Peers:
    """Tasks of other hosts that have to answer, and what to do about those that do not."""

    tasks: Sequence[ClusterSpec] = ()
    remedy: str = ""


class Supervisor:
    """The warm starter, the guard, the console and the heartbeats of all starts of a job."""

    def __init__(self, starter: Starter, settings: Settings, *, first_start: int = 0) -> None:
        self._starter = starter
        self._settings = settings
        self._next_start = first_start
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._console = Console(sys.stdout.buffer, colour=colour, on_closed=self._on_closed)
        self._job: Job | None = None
        # What came while no task was there to be told. A SimpleQueue, for signal handlers.
        self._stops: SimpleQueue[tuple[int, str]] = SimpleQueue()
        self._guard = Guard()
        self._heartbeats = HeartbeatDirectory(self._guard)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self._starter.close()
        self._heartbeats.close()
        self._guard.close()

    def run(
        self,
        plan: Plan,
        restarts: Restarts,
        *,
        peers: Peers | None = None,
        control: Control | None = None,
    ) -> Outcome:
        """Until the end of all tasks that `plan` returns, given which workers to leave out, or of patience."""
        with _signals_to(self):
            while True:
                tasks = plan(restarts.left_out)
                outcome, furthest_step = self._run_once(tasks, peers or Peers(), control)
                failure = outcome.failure
                if failure is None or outcome.was_told_to_stop:
                    return outcome
                decision = restarts.after(failure, furthest_step)
                if not decision.starts_again:
                    for line in decision.says:
                        say(line)
                    return outcome
                if failure.is_new and not failure.needs_no_lines and not failure.is_port_clash:
                    say(last_lines(failure))
                for line in decision.says:
                    say(line)
                try:
                    signum, reason = self._stops.get(timeout=decision.after_seconds)
                except Empty:
                    continue
                return Outcome(stopped_by=signum, reason=reason, returncodes=(failure.returncode,))

    def stop(self, signum: int, reason: str = "") -> None:
        """End the tasks, and start none again; from any thread or signal handler."""
        job = self._job
        if job is None:
            self._stops.put((signum, reason))
        else:
            job.stop(signum, reason)

    def pass_on(self, signum: int) -> None:
        if self._job is not None:
            self._job.pass_on(signum)

    def _run_once(
        self, tasks: Sequence[Task | Remote], peers: Peers, control: Control | None
    ) -> tuple[Outcome, int]:
        """The outcome, and the furthest step that a task of this host has told of."""
        start = self._next_start
        self._next_start += 1
        files = self._new_files(tasks)
        heartbeats = Heartbeats(files, self._settings.hang_timeout_seconds)
        job = Job(
            [_told(task, start, files.get(i)) for i, task in enumerate(tasks)],
            self._starter,
            self._guard,
            self._console,
            heartbeats,
            Replacements(tasks, self._settings),
            say=say,
            log_dir=self._settings.log_dir,
            log_note=f", restart {start}" if start else "",
            grace_period_seconds=self._settings.grace_period_seconds,
        )
        self._job = job
        while not self._stops.empty():
            job.stop(*self._stops.get())
        try:
            say(_beginning(tasks, self._starter.name, self._settings.log_dir))
            job.start()
            if control is not None:
                control.follow(job)
            watch = self._watch(job, peers) if peers.tasks else None
            with closing(watch) if watch else nullcontext():
                outcome = job.wait()
        finally:
            self._job = None
        furthest_step = heartbeats.furthest_step
        self._heartbeats.remove(files.values())
        return replace(outcome, was_told_to_stop=job.was_told_to_stop), furthest_step

    def _new_files(self, tasks: Sequence[Task | Remote]) -> dict[int, Path]:
        """One for each task of this host, by its position."""
        here = [i for i, task in enumerate(tasks) if isinstance(task, Task)]
        made = {position: self._heartbeats.new_file() for position in here}
        if self._heartbeats.problem:
            say(
                f"tasks are not watched, and no progress is seen, for want of a temporary file "
                f"({self._heartbeats.problem}): set TMPDIR to a directory that can be written"
            )
        return {position: path for position, path in made.items() if path is not None}

    def _watch(self, job: Job, peers: Peers) -> PeerWatch:
        return PeerWatch(
            peers.tasks,
            say=say,
            timeout_seconds=self._settings.start_timeout_seconds,
            give_up=lambda reason: job.stop(signal.SIGTERM, reason),
            remedy=peers.remedy,
        )

    def _on_closed(self) -> None:
        self.stop(signal.SIGTERM, "ended, because nobody reads the output any longer")


def _told(task: Task | Remote, start: int, file: Path | None) -> Task | Remote:
    variables = {RESTART_VARIABLE: str(start)}
    if file is not None:
        variables[heartbeat.VARIABLE] = str(file)
    return task.with_variables(variables)


def _beginning(tasks: Sequence[Task | Remote], start_method: str, log_dir: Path | None) -> str:
    hosts = [task.name for task in tasks if isinstance(task, Remote)]
    through_ssh = f", {', '.join(hosts)} through ssh" if hosts else ""
    logs = f", logs in {log_dir}" if log_dir else ""
    return f"{len(tasks) - len(hosts)} task(s), start method {start_method}{through_ssh}{logs}"


@contextmanager
def _signals_to(supervisor: Supervisor) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the tasks by the same signal; others are handed on.

    Under `nohup`, which ignores SIGHUP, a closed terminal ends nothing.
    """

    def stop(signum: int, _frame: object) -> None:
        supervisor.stop(signum)

    def pass_on(signum: int, _frame: object) -> None:
        supervisor.pass_on(signum)

    handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM), stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        handlers[signal.SIGHUP] = stop
    handlers |= dict.fromkeys((signal.SIGUSR1, signal.SIGUSR2), pass_on)
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
