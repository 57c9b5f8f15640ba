"""Run a job's tasks on this host from their plan to the exit status, and say what happens on the way."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tfdml.cluster.peer_watch import PeerWatch, awaited_by
from tfdml.cluster.ports import is_free
from tfdml.cluster.resolver import Place
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError
from tfdml.launch import exposure, gpus, place
from tfdml.launch.control import Control
from tfdml.launch.failure import status_of
from tfdml.launch.guard import Guard
from tfdml.launch.job import Job, Outcome
from tfdml.launch.output import Console
from tfdml.launch.plan import Remote, Task
from tfdml.launch.report import conclude, say
from tfdml.launch.ssh import WithSsh
from tfdml.launch.start import ForkStarter, SpawnStarter, Starter

START_METHODS = ("auto", "fork", "spawn")
PORT_CLASH_STARTS = 4
_HOSTS_REMEDY = (
    "start the same line there with its own --node_index, check the address and the firewall, or allow more "
    "time with --start_timeout_seconds"
)


@dataclass(frozen=True)
class Settings:
    """How tasks run, whatever they are."""

    start_method: str = "auto"
    log_dir: Path | None = None
    grace_period_seconds: float = 5.0
    start_timeout_seconds: float = 600.0


def choose_starter(start_method: str, num_tasks: int) -> Starter:
    """`auto` forks where that saves an import and no GPU driver is there to mind it."""
    if start_method == "auto":
        several_without_gpu = num_tasks > 1 and not gpus.visible_gpus(os.environ)
        start_method = "fork" if several_without_gpu else "spawn"
    return ForkStarter() if start_method == "fork" else SpawnStarter()


def run_on_this_host(plan: Callable[[], list[Task]], settings: Settings) -> int:
    """Run the tasks that `plan` returns; plan and start again where one finds its port taken.

    Returns the exit status: 0, or that of the task that failed first, or 128 + n for signal n.
    """
    tasks = plan()
    starter = choose_starter(settings.start_method, len(tasks))
    with _Runner(starter, settings) as runner:
        for starts_left in reversed(range(PORT_CLASH_STARTS)):
            _tell_of_ports(tasks, several_hosts=False)
            outcome = runner.run(tasks)
            if outcome.failure is None or not outcome.failure.is_port_clash or not starts_left:
                break
            say(f"{outcome.failure.task_name} found its port taken; all tasks start on new ports")
            tasks = plan()
        return conclude(outcome, settings.log_dir)


def run_on_many_hosts(
    tasks: Sequence[Task],
    settings: Settings,
    remotes: Sequence[Remote] = (),
    control: Control | None = None,
) -> int:
    """Run this host's share of a job over several hosts; the same returns as `run_on_this_host`.

    `remotes` are the other hosts, where this launcher starts them too; `control` is there where another
    launcher has started this one.
    """
    own = [task.cluster.address for task in tasks]
    for address in own:
        port = int(address.rpartition(":")[2])
        if not is_free(port):
            raise ClusterError(
                f"port {port} of this host is taken: give another --base_port, the same on "
                "every host."
            )
    _tell_of_ports(tasks, several_hosts=True)
    starter = choose_starter(settings.start_method, len(tasks))
    with _Runner(WithSsh(starter) if remotes else starter, settings) as runner:
        peers = (
            [peer for peer in awaited_by(tasks[0].cluster) if peer.address not in own]
            if tasks
            else []
        )
        outcome = runner.run([*tasks, *remotes], peers, _HOSTS_REMEDY, control)
        status = conclude(outcome, settings.log_dir)
    failure = outcome.failure
    if (
        failure is not None
        and failure.looks_like_lost_peer
        and not failure.lost_peers
        and not remotes
    ):
        say("it may have failed only because another host's task did: see what that one printed")
    return status


def run_in_place(found: Place, task: Task, settings: Settings) -> int:
    """Run the one task that a platform has given to this process.

    Returns the task's own exit status whatever ended it, as if the platform had started it itself.
    """
    place.check_port(found)
    _tell_of_ports([task], several_hosts=True)
    with _Runner(choose_starter(settings.start_method, 1), settings) as runner:
        outcome = runner.run([task], awaited_by(found.cluster), place.start_remedy(found))
        status = conclude(outcome, settings.log_dir)
    if outcome.stopped_by is not None and not outcome.reason and outcome.returncodes:
        return status_of(outcome.returncodes[0])
    return status


def _tell_of_ports(tasks: Sequence[Task], *, several_hosts: bool) -> None:
    told = exposure.notice([task.cluster for task in tasks], several_hosts=several_hosts)
    if told:
        say(told)


class _Runner:
    """What outlives one start of the tasks: the warm starter, the guard and the console."""

    def __init__(self, starter: Starter, settings: Settings) -> None:
        self._starter = starter
        self._settings = settings
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
        tasks: Sequence[Task | Remote],
        peers: Sequence[ClusterSpec] = (),
        remedy: str = "",
        control: Control | None = None,
    ) -> Outcome:
        """Until the end of all `tasks`, or of patience with `peers`, of which `remedy` says what to do."""
        job = Job(
            tasks,
            self._starter,
            self._guard,
            self._console,
            log_dir=self._settings.log_dir,
            grace_period_seconds=self._settings.grace_period_seconds,
        )
        self._job = job
        with _signals_to(job):
            say(_beginning(tasks, self._starter.name, self._settings.log_dir))
            job.start()
            if control is not None:
                control.follow(job)
            with closing(self._watch(job, peers, remedy)) if peers else nullcontext():
                return job.wait()

    def _watch(self, job: Job, peers: Sequence[ClusterSpec], remedy: str) -> PeerWatch:
        return PeerWatch(
            peers,
            say=say,
            timeout_seconds=self._settings.start_timeout_seconds,
            give_up=lambda reason: job.stop(signal.SIGTERM, reason),
            remedy=remedy,
        )

    def _on_closed(self) -> None:
        if self._job is not None:
            self._job.stop(signal.SIGTERM, "ended, because nobody reads the output any longer")


def _beginning(tasks: Sequence[Task | Remote], start_method: str, log_dir: Path | None) -> str:
    hosts = [task.name for task in tasks if isinstance(task, Remote)]
    through_ssh = f", {', '.join(hosts)} through ssh" if hosts else ""
    logs = f", logs in {log_dir}" if log_dir else ""
    return f"{len(tasks) - len(hosts)} task(s), start method {start_method}{through_ssh}{logs}"


@contextmanager
def _signals_to(job: Job) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the tasks by the same signal; others are handed on.

    Under `nohup`, which ignores SIGHUP, a closed terminal ends nothing.
    """

    def stop(signum: int, _frame: object) -> None:
        job.stop(signum)

    def pass_on(signum: int, _frame: object) -> None:
        job.pass_on(signum)

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
