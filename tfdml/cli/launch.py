"""`tfdml launch`: run a training script as the tasks of a job."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdml.errors import ClusterError, ConfigError
from tfdml.launch import plan, run

_DESCRIPTION = """\
Run SCRIPT as one task or several. Every task is given its own TF_CONFIG, from which
tfdml.cluster.resolve() and TensorFlow's strategies know the cluster."""

_EXAMPLES = """\
examples:
  One process, which uses all GPUs of this host:
    tfdml launch train.py --model_dir=runs/a

  Two worker processes on this host (GPUs are divided between them):
    tfdml launch --workers=2 train.py --model_dir=runs/a

  Two hosts with four workers each. The same line on both, but for its own --node_index:
    tfdml launch --hosts=host-a:4,host-b:4 --node_index=0 train.py --model_dir=/shared/a

  What would be started, without starting it:
    tfdml launch --workers=2 --dry_run train.py

Flags before SCRIPT are the launcher's, flags after it the script's. Both spellings are understood,
--gpus_per_worker and --gpus-per-worker.

When a task fails, the others are ended, the failed task's last lines are shown, and its exit
status is the launcher's (128 + n for signal n). Ctrl-C ends all tasks; pressed again, at once."""


def main(argv: Sequence[str]) -> int:
    """Parse the launcher's flags, plan the tasks and run them; returns the exit status."""
    flags = _parser().parse_args(argv)
    script, arguments = flags.script, flags.arguments
    if not Path(script).is_file():
        raise ConfigError(
            f"SCRIPT {script!r} is not a file: give the path of a Python script, after the "
            "launcher's own flags."
        )
    if flags.grace_period_seconds < 0:
        raise ConfigError(
            f"--grace_period_seconds must not be negative, got {flags.grace_period_seconds:g}."
        )
    if flags.gpus_per_worker is not None and flags.gpus_per_worker < 0:
        raise ConfigError(f"--gpus_per_worker must be 0 or more, got {flags.gpus_per_worker}.")
    hosts = _hosts(flags)

    def tasks() -> list[plan.Task]:
        clusters = (
            plan.on_many_hosts(hosts, flags.node_index, flags.base_port)
            if hosts
            else plan.on_this_host(flags.workers)
        )
        return plan.plan_tasks(clusters, script, arguments, gpus_per_worker=flags.gpus_per_worker)

    if flags.dry_run:
        print("\n".join(plan.describe(task) for task in tasks()))
        return 0
    log_dir = _log_dir(flags.log_dir, arguments)
    if hosts:
        return run.run_on_many_hosts(
            tasks(),
            flags.start_method,
            log_dir=log_dir,
            grace_period_seconds=flags.grace_period_seconds,
            start_timeout_seconds=flags.start_timeout_seconds,
        )
    return run.run_on_this_host(
        tasks,
        flags.start_method,
        log_dir=log_dir,
        grace_period_seconds=flags.grace_period_seconds,
    )


def _hosts(flags: argparse.Namespace) -> tuple[plan.Host, ...]:
    if flags.hosts is None:
        if flags.node_index is not None:
            raise ClusterError("--node_index counts the hosts of --hosts, which is missing.")
        flags.workers = 1 if flags.workers is None else flags.workers
        return ()
    if flags.workers is not None:
        raise ClusterError("--hosts says how many workers each host has: leave out --workers.")
    if flags.node_index is None:
        raise ClusterError("--hosts needs --node_index, this host's position in it, from 0.")
    return plan.parse_hosts(flags.hosts)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml launch",
        usage="tfdml launch [flags] SCRIPT [script flags]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    job = parser.add_argument_group("which tasks")
    _flag(job, "--workers", type=int, metavar="N", help="worker processes on this host (1)")
    _flag(
        job,
        "--gpus_per_worker",
        type=int,
        metavar="G",
        help="GPUs that each worker sees (this host's, divided evenly)",
    )
    _flag(
        job,
        "--hosts",
        metavar="A:2,B:2",
        help="every host of the job, with its number of workers",
    )
    _flag(job, "--node_index", type=int, metavar="I", help="this host's position in --hosts")
    _flag(
        job,
        "--base_port",
        type=int,
        default=12345,
        metavar="P",
        help="with --hosts: worker i of a host listens on port P + i (12345)",
    )
    how = parser.add_argument_group("how they run")
    _flag(
        how,
        "--start_method",
        choices=run.START_METHODS,
        default="auto",
        help="fork: import TensorFlow once for all tasks; spawn: a fresh python for each; "
        "auto: fork where there are several tasks and no GPU (auto)",
    )
    _flag(
        how,
        "--log_dir",
        metavar="DIR",
        help="one log file per task (the script's --model_dir, in logs/; without one, no files)",
    )
    _flag(
        how,
        "--grace_period_seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="how long a task may take to end after SIGTERM, before SIGKILL (5)",
    )
    _flag(
        how,
        "--start_timeout_seconds",
        type=float,
        default=600.0,
        metavar="S",
        help="how long to wait for the tasks of other hosts to answer (600)",
    )
    _flag(how, "--dry_run", action="store_true", help="print each task's TF_CONFIG and command")
    parser.add_argument("script", metavar="SCRIPT", help="a Python script")
    rest = parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="handed to the script unchanged"
    )
    rest.required = False  # So that only SCRIPT is said to be missing.
    return parser


def _flag(group: Any, name: str, *, help: str, **options: Any) -> None:
    """Add a flag in both of its spellings; the help shows one."""
    group.add_argument(name, help=help, **options)
    dashed = "--" + name[2:].replace("_", "-")
    if dashed != name:
        options["default"] = argparse.SUPPRESS
        group.add_argument(dashed, dest=name[2:], help=argparse.SUPPRESS, **options)
