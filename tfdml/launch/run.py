"""Run a job on this host, on several or in a platform's place: from a plan to the exit status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from tfdml.cluster.peer_watch import awaited_by
from tfdml.cluster.ports import is_free
from tfdml.cluster.resolver import Place
from tfdml.errors import ClusterError
from tfdml.launch import exposure, gpus, place
from tfdml.launch.control import Control
from tfdml.launch.failure import status_of
from tfdml.launch.plan import Remote, Task
from tfdml.launch.report import conclude, say
from tfdml.launch.restarts import Restarts
from tfdml.launch.settings import Settings
from tfdml.launch.ssh import WithSsh
from tfdml.launch.standby import StandbyStarter
from tfdml.launch.start import ForkStarter, SpawnStarter, Starter
from tfdml.launch.supervisor import RESTART_VARIABLE, Peers, Supervisor

START_METHODS = ("auto", "fork", "spawn")
_PORT_SECONDS = 30.0
_HOSTS_REMEDY = (
    "start the same line there with its own --node_index, check the address and the firewall, or allow more "
    "time with --start_timeout_seconds"
)


def choose_starter(settings: Settings, num_tasks: int) -> Starter:
    """`auto` forks where that saves an import and no GPU driver is there to mind it."""
    start_method = settings.start_method
    if start_method == "auto":
        several_without_gpu = num_tasks > 1 and not gpus.visible_gpus(os.environ)
        start_method = "fork" if several_without_gpu else "spawn"
    if start_method == "fork":
        return (
            ForkStarter()
        )  # Which needs no standby processes: it is one, for any number of tasks.
    return StandbyStarter(settings.num_standby) if settings.num_standby else SpawnStarter()


def run_on_this_host(plan: Callable[[Sequence[int]], list[Task]], settings: Settings) -> int:
    """Run the tasks that `plan` returns, given the workers to leave out; plan and start again after failures.

    Returns the exit status: 0, or that of the task that failed first, or 128 + n for signal n.
    """
    first = plan(())

    def planned(left_out: Sequence[int]) -> list[Task]:
        nonlocal first
        tasks, first = first or plan(left_out), []
        _tell_of_ports(tasks, several_hosts=False)
        return tasks

    restarts = Restarts(settings, num_workers=len(first), has_new_ports=True)
    with Supervisor(choose_starter(settings, len(first)), settings) as supervisor:
        return conclude(supervisor.run(planned, restarts), settings.log_dir)


def run_on_many_hosts(
    tasks: Sequence[Task],
    settings: Settings,
    remotes: Sequence[Remote] = (),
    control: Control | None = None,
) -> int:
    """Run this host's share of a job over several hosts; the same returns as `run_on_this_host`.

    `remotes` are the other hosts, where this launcher starts them too, again after a failure; `control` is
    there where another launcher has started this one, and would start it again.
    """
    first_start = int(os.environ.get(RESTART_VARIABLE, "0")) if control is not None else 0
    own = [task.cluster.address for task in tasks]
    for address in own:
        port = int(address.rpartition(":")[2])
        # Of a connection that broke, the other end may be slow to notice.
        if not is_free(port) and not (first_start and _becomes_free(port)):
            raise ClusterError(
                f"port {port} of this host is taken: give another --base_port, the same on "
                "every host."
            )
    _tell_of_ports(tasks, several_hosts=True)
    starter = choose_starter(settings, len(tasks))
    if remotes:
        starter = WithSsh(starter)
    with Supervisor(starter, settings, first_start=first_start) as supervisor:
        awaited = awaited_by(tasks[0].cluster) if tasks else []
        peers = Peers([peer for peer in awaited if peer.address not in own], _HOSTS_REMEDY)
        outcome = supervisor.run(
            lambda _: [*tasks, *remotes], Restarts(settings), peers=peers, control=control
        )
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
    peers = Peers(awaited_by(found.cluster), place.start_remedy(found))
    with Supervisor(choose_starter(settings, 1), settings) as supervisor:
        outcome = supervisor.run(lambda _: [task], Restarts(settings), peers=peers)
        status = conclude(outcome, settings.log_dir)
    if outcome.stopped_by is not None and not outcome.reason and outcome.returncodes:
        return status_of(outcome.returncodes[0])
    return status


def _tell_of_ports(tasks: Sequence[Task], *, several_hosts: bool) -> None:
    told = exposure.notice([task.cluster for task in tasks], several_hosts=several_hosts)
    if told:
        say(told)


def _becomes_free(port: int) -> bool:
    deadline = time.monotonic() + _PORT_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
