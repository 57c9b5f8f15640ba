"""`tfdml launch`: run a training script as the tasks of a job."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tfdml.cli.launch_flags import check_restart_flags, check_server_flags, parser
from tfdml.cluster import locate
from tfdml.cluster.hosts import Host, parse_file, parse_list
from tfdml.cluster.own_host import find_own, own_name
from tfdml.cluster.resolver import Place, Surroundings, read_file, shortened
from tfdml.errors import ClusterError, ConfigError
from tfdml.launch import place, plan, run, ssh
from tfdml.launch.control import Control
from tfdml.launch.report import say
from tfdml.launch.settings import Settings

GRACE_SECONDS = 5.0
# A platform kills what outlives its own limit, and knows better than this launcher what that is.
GRACE_IN_PLACE_SECONDS = 3600.0
BACKOFF_SECONDS = 1.0
# TensorFlow takes up to 10 s to notice that a task of another host is gone: one that came back before
# would meet the tasks of the start that failed.
BACKOFF_BETWEEN_LAUNCHERS_SECONDS = 10.0


def main(argv: Sequence[str]) -> int:
    """Parse the launcher's flags, plan the tasks and run them; returns the exit status."""
    flags = parser().parse_args(argv)
    _check(flags)
    hosts = _hosts(flags)
    if hosts:
        return _on_many_hosts(flags, hosts)
    found = locate()
    if flags.workers is not None:
        place.refuse_workers(found, f"--workers={flags.workers}")
    if not found.cluster.is_local:
        return _in_place(flags, found)
    return _on_this_host(flags, found)


def _on_this_host(flags: argparse.Namespace, found: Place) -> int:
    workers = 1 if flags.workers is None else flags.workers

    def tasks(left_out: Sequence[int] = ()) -> list[plan.Task]:
        return plan.plan_tasks(
            plan.on_this_host(workers, num_left_out=len(left_out))
            if flags.ps is None
            else plan.with_servers(workers, flags.ps, evaluator=flags.evaluator),
            flags.script,
            flags.arguments,
            gpus_per_worker=flags.gpus_per_worker,
            platform_gpus=found.gpus,
            left_out=left_out,
        )

    if flags.dry_run:
        return _show(tasks())
    if found.platform != "local":
        say(place.found(found))
    return run.run_on_this_host(tasks, _settings(flags))


def _in_place(flags: argparse.Namespace, found: Place) -> int:
    if flags.gpus_per_worker is not None:
        raise ClusterError(
            f"--gpus_per_worker={flags.gpus_per_worker} divides GPUs between tasks that the launcher makes, but "
            f"here {place.TITLES[found.platform]} has made them: ask it for GPUs, or set CUDA_VISIBLE_DEVICES."
        )
    task = place.plan_task(found, flags.script, flags.arguments)
    say(place.found(found))
    if flags.dry_run:
        return _show([task])
    settings = _settings(flags, GRACE_IN_PLACE_SECONDS, BACKOFF_BETWEEN_LAUNCHERS_SECONDS)
    return run.run_in_place(found, task, settings)


def _on_many_hosts(flags: argparse.Namespace, hosts: Sequence[Host]) -> int:
    control = Control.of_standard_input() if flags.ssh_remote else None
    own = _own_index(flags, hosts)
    clusters = [] if own is None else plan.on_many_hosts(hosts, own, flags.base_port)
    tasks = (
        plan.plan_tasks(
            clusters, flags.script, flags.arguments, gpus_per_worker=flags.gpus_per_worker
        )
        if clusters
        else []
    )
    remotes = (
        ssh.remotes(hosts, own, _handed_on(flags), flags.script, flags.arguments, flags.ssh_env)
        if flags.ssh
        else []
    )
    if flags.dry_run:
        return _show([*tasks, *remotes])
    backoff_seconds = (
        BACKOFF_BETWEEN_LAUNCHERS_SECONDS if len(hosts) > 1 and not flags.ssh else BACKOFF_SECONDS
    )
    settings = _settings(flags, backoff_seconds=backoff_seconds)
    return run.run_on_many_hosts(tasks, settings, remotes, control)


def _show(tasks: Sequence[plan.Task | plan.Remote]) -> int:
    print("\n".join(plan.describe(task) for task in tasks))
    return 0


def _settings(
    flags: argparse.Namespace,
    grace_period_seconds: float = GRACE_SECONDS,
    backoff_seconds: float = BACKOFF_SECONDS,
) -> Settings:
    """Those of the flags; the arguments are for where nothing is given."""
    grace, backoff = flags.grace_period_seconds, flags.restart_backoff_seconds
    return Settings(
        start_method=flags.start_method,
        log_dir=_log_dir(flags.log_dir, flags.arguments),
        grace_period_seconds=grace_period_seconds if grace is None else grace,
        start_timeout_seconds=flags.start_timeout_seconds,
        max_restarts=flags.max_restarts,
        restart_backoff_seconds=backoff_seconds if backoff is None else backoff,
        hang_timeout_seconds=flags.hang_timeout_seconds,
        min_workers=flags.min_workers,
        give_up_after=flags.give_up_after,
        num_standby=flags.standby,
    )


def _handed_on(flags: argparse.Namespace) -> list[str]:
    """The flags that the launchers of other hosts are given as well. Restarts are for this one to make."""
    names = (
        "base_port",
        "gpus_per_worker",
        "start_method",
        "log_dir",
        "grace_period_seconds",
        "start_timeout_seconds",
        "hang_timeout_seconds",
    )
    given = ((name, getattr(flags, name)) for name in names)
    return [f"--{name}={value}" for name, value in given if value is not None]


def _check(flags: argparse.Namespace) -> None:
    """Raise `ConfigError` or `ClusterError` for what no cluster makes right."""
    if not Path(flags.script).is_file():
        raise ConfigError(
            f"SCRIPT {flags.script!r} is not a file: give the path of a Python script, after the "
            "launcher's own flags."
        )
    if flags.grace_period_seconds is not None and flags.grace_period_seconds < 0:
        raise ConfigError(
            f"--grace_period_seconds must not be negative, got {flags.grace_period_seconds:g}."
        )
    check_server_flags(flags)
    check_restart_flags(flags)
    if flags.gpus_per_worker is not None and flags.gpus_per_worker < 0:
        raise ConfigError(f"--gpus_per_worker must be 0 or more, got {flags.gpus_per_worker}.")
    if flags.ssh_env and not flags.ssh:
        raise ClusterError("--ssh_env takes a variable along to other hosts, but --ssh is missing.")


def _hosts(flags: argparse.Namespace) -> tuple[Host, ...]:
    """Those of --hosts or --hostfile; none without. Raises `ClusterError`."""
    if flags.hosts is not None and flags.hostfile is not None:
        raise ClusterError("--hosts and --hostfile both list the hosts: leave one of them out.")
    if flags.hosts is None and flags.hostfile is None:
        given = {"node_index": flags.node_index is not None, "ssh": flags.ssh}
        for name, is_given in given.items():
            if is_given:
                raise ClusterError(
                    f"--{name} is about the hosts of --hosts or --hostfile, which are missing."
                )
        return ()
    if flags.workers is not None:
        raise ClusterError(
            f"--{'hosts' if flags.hosts is not None else 'hostfile'} says how many workers each host has: "
            "leave out --workers."
        )
    if flags.hosts is not None:
        return parse_list(flags.hosts, "--hosts")
    content = read_file(flags.hostfile)
    if content is None:
        raise ClusterError(
            f"--hostfile={flags.hostfile} cannot be read: give the path of a host file."
        )
    return parse_file(content, flags.hostfile)


def _own_index(flags: argparse.Namespace, hosts: Sequence[Host]) -> int | None:
    """This host's position among `hosts`; None where it only starts the others, through ssh."""
    if flags.node_index is not None:
        return flags.node_index
    if len(hosts) == 1 and not flags.ssh:
        return 0
    around = Surroundings(os.environ)
    names = [host.name for host in hosts]
    own = find_own(names, around)
    if own is None and not flags.ssh:
        raise ClusterError(
            f"none of the hosts {shortened(', '.join(names))} is clearly this one, "
            f"{own_name(around) or 'which has no name'}: give its position with --node_index, from 0."
        )
    return own


def _log_dir(given: str | None, arguments: Sequence[str]) -> Path | None:
    """--log_dir, or `logs` in the script's --model_dir, or None: no log files."""
    if given is not None:
        return Path(given)
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("-", "_") != "__model_dir":
            continue
        if not equals:
            value = arguments[position + 1] if position + 1 < len(arguments) else ""
        return Path(value) / "logs" if value else None
    return None
