"""Run a job on this host from its plan to its exit status, and say what happens on the way."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tfdml.cluster.ports import is_free
from tfdml.errors import ClusterError
from tfdml.launch import gpus
from tfdml.launch.guard import Guard
from tfdml.launch.job import Job, Outcome
from tfdml.launch.output import Console
from tfdml.launch.peers import PeerWatch
from tfdml.launch.plan import Task
from tfdml.launch.start import ForkStarter, SpawnStarter, Starter

START_METHODS = ("auto", "fork", "spawn")
PORT_CLASH_STARTS = 4
STOPPED_STATUS = 1


def say(text: str) -> None:
    """The launcher's own words, apart from those of its tasks."""
    print(f"tfdml launch: {text}", file=sys.stderr, flush=True)


def choose_starter(start_method: str, num_tasks: int) -> Starter:
    """`auto` forks where that saves an import and no GPU driver is there to mind it."""
    if start_method == "auto":
        several_without_gpu = num_tasks > 1 and not gpus.visible_gpus(os.environ)
        start_method = "fork" if several_without_gpu else "spawn"
    return ForkStarter() if start_method == "fork" else SpawnStarter()


def run_on_this_host(
    plan: Callable[[], list[Task]],
    start_method: str,
    *,
    log_dir: Path | None,
    grace_period_seconds: float,
) -> int:
    """Run the tasks that `plan` returns; plan and start again where one finds its port taken.

    Returns the exit status: 0, or that of the task that failed first, or 128 + n for signal n.
    """
    tasks = plan()
    starter = choose_starter(start_method, len(tasks))
    with _Runner(starter, log_dir, grace_period_seconds) as runner:
        for starts_left in reversed(range(PORT_CLASH_STARTS)):
            outcome = runner.run(tasks)
            if outcome.failure is None or not outcome.failure.is_port_clash or not starts_left:
                break
            say(f"{outcome.failure.task_name} found its port taken; all tasks start on new ports")
            tasks = plan()
        return _conclude(outcome, log_dir)


def run_on_many_hosts(
    tasks: Sequence[Task],
    start_method: str,
    *,
    log_dir: Path | None,
    grace_period_seconds: float,
    start_timeout_seconds: float,
) -> int:
    """Run this host's share of a job over several hosts; the same returns as `run_on_this_host`."""
    own = [task.cluster.address for task in tasks]
    for address in own:
        port = int(address.rpartition(":")[2])
        if not is_free(port):
            raise ClusterError(
                f"port {port} of this host is taken: give another --base_port, the same on "
                "every host."
            )
    workers = tasks[0].cluster.jobs["worker"]
    starter = choose_starter(start_method, len(tasks))
    with _Runner(starter, log_dir, grace_period_seconds) as runner:
        outcome = runner.run(
            tasks, [address for address in workers if address not in own], start_timeout_seconds
        )
        status = _conclude(outcome, log_dir)
    if outcome.failure is not None and outcome.failure.looks_like_lost_peer:
        say("it may have failed only because another host's task did: see what that one printed")
    return status


class _Runner:
    """What outlives one start of the tasks: the warm starter, the guard and the console."""

    def __init__(self, starter: Starter, log_dir: Path | None, grace_period_seconds: float) -> None:
        self._starter = starter
        self._log_dir = log_dir
        self._grace_period_seconds = grace_period_seconds
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._console = Console(sys.stdout.buffer, colour=colour, on_closed=self._on_closed)
        self._job: Job | None = None
        self._guard = Guard()

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._starter.close()
        self._guard.close()

    def run(
        self,
        tasks: Sequence[Task],
        peers: Sequence[str] = (),
        start_timeout_seconds: float = 0.0,
    ) -> Outcome:
        job = Job(
            tasks,
            self._starter,
            self._guard,
            self._console,
            log_dir=self._log_dir,
            grace_period_seconds=self._grace_period_seconds,
        )
        self._job = job
        with _stopped_by_signals(job):
            logs = f", logs in {self._log_dir}" if self._log_dir else ""
            say(f"{len(tasks)} task(s), start method {self._starter.name}{logs}")
            job.start()
            if not peers:
                return job.wait()
            watch = PeerWatch(
                peers,
                timeout_seconds=start_timeout_seconds,
                say=say,
                give_up=lambda reason: job.stop(signal.SIGTERM, reason),
            )
            with closing(watch):
                return job.wait()

    def _on_closed(self) -> None:
        if self._job is not None:
            self._job.stop(signal.SIGTERM, "ended, because nobody reads the output any longer")


@contextmanager
def _stopped_by_signals(job: Job) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the tasks by the same signal."""

    def stop(signum: int, _frame: object) -> None:
        job.stop(signum)

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _conclude(outcome: Outcome, log_dir: Path | None) -> int:
    """Say once why the job failed; its exit status."""
    if outcome.reason:
        say(outcome.reason)
        return STOPPED_STATUS
    if outcome.stopped_by is not None:
        say(f"stopped by {signal.Signals(outcome.stopped_by).name}")
    elif outcome.failure is not None:
        say(_report(outcome, log_dir))
    return outcome.status


def _report(outcome: Outcome, log_dir: Path | None) -> str:
    failure = outcome.failure
    assert failure is not None
    if not failure.last_lines:
        return f"{failure.summary()} and printed nothing."
    where = (
        f"All that each task printed is in {log_dir}."
        if log_dir
        else "With --log_dir=DIR everything that each task prints is kept."
    )
    lines = "\n".join(f"  {line}" for line in failure.last_lines)
    return f"{failure.summary()}; its last lines:\n{lines}\ntfdml launch: {where}"
