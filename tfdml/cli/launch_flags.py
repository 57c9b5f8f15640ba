"""The command line of `tfdml launch`."""

from __future__ import annotations

import argparse
import math
from typing import Any

from tfdml.errors import ConfigError
from tfdml.launch import run

_DESCRIPTION = """\
Run SCRIPT as one task or several. Every task is given its own TF_CONFIG, from which
tfdml.cluster.resolve() and TensorFlow's strategies know the cluster."""

_EXAMPLES = """\
examples:
  One process, which uses all GPUs of this host:
    tfdml launch train.py --model_dir=runs/a

  Two worker processes on this host (GPUs are divided between them):
    tfdml launch --workers=2 train.py --model_dir=runs/a

  Two hosts with four workers each. The same line on both:
    tfdml launch --hosts=host-a:4,host-b:4 train.py --model_dir=/shared/a

  The same, started from here on both through ssh, with the hosts in a file (`host-a slots=4`):
    tfdml launch --ssh --hostfile=hosts.txt train.py --model_dir=/shared/a

  The same on one host, started again up to three times when a task fails, is preempted or hangs
  (with tfdml.callbacks.BackupAndRestore no step is lost):
    tfdml launch --workers=4 --max_restarts=3 --hang_timeout_seconds=600 train.py --model_dir=runs/a

  A chief, two workers and two parameter servers on this host, trained asynchronously:
    tfdml launch --workers=2 --ps=2 train.py --model_dir=runs/a

  Where Slurm, Kubernetes, Kubeflow, MPI or a managed cloud starts every task, or TF_CONFIG is set:
    srun tfdml launch train.py --model_dir=/shared/a

  What would be started, without starting it:
    tfdml launch --workers=2 --dry_run train.py

Flags before SCRIPT are the launcher's, flags after it the script's. Both spellings are understood,
--gpus_per_worker and --gpus-per-worker.

Inside of such a platform the task that this process is meant to be is started; without one, and
without flags, a single process.

When a task fails, the others are ended, the failed task's last lines are shown, and its exit
status is the launcher's (128 + n for signal n). Ctrl-C ends all tasks; pressed again, at once.
SIGTERM is handed on once, and exit status 42 of a task (saved, run me again) is the launcher's.

With --max_restarts=N all tasks start again, up to N times in a row: the count begins anew when the
job has trained a step beyond the furthest of its earlier starts. Exit status 2 (a mistake in flags or
configuration) starts nothing again, nor does anything after a signal to the launcher. Tasks that ended
with status 42 start at once, others after a pause that doubles from restart to restart. TFDML_RESTART
tells a task how many starts came before its own. docs/restarts.md has the rest.

With --ps the job is over when the chief has ended. A worker that is lost meanwhile starts again at its
address, after a pause, and the job goes on; when the same one is lost --give_up_after times and the chief
has not got a step further while it served, the job fails. A lost chief or parameter server fails it, too, and
--max_restarts is for that. docs/parameter-servers.md has the rest."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="tfdml launch",
        usage="tfdml launch [flags] SCRIPT [script flags]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    job = made.add_argument_group("which tasks")
    _flag(job, "--workers", type=int, metavar="N", help="worker processes on this host (1)")
    _flag(
        job,
        "--ps",
        type=int,
        metavar="M",
        help="with --workers: M parameter servers, which hold the variables, and a chief, which runs the script; "
        "workers and servers run it up to tfdml.cluster.serve(cluster), until the chief has ended",
    )
    _flag(
        job,
        "--evaluator",
        action="store_true",
        help="with --ps: one task more, which evaluates what the chief saves; SIGTERM tells it of the chief's end",
    )
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
    _flag(
        job,
        "--hostfile",
        metavar="FILE",
        help="the same from a file: `a slots=2` or `a:2` a line",
    )
    _flag(
        job,
        "--node_index",
        type=int,
        metavar="I",
        help="this host's position among them, from 0 (found by its name or address)",
    )
    _flag(
        job,
        "--base_port",
        type=int,
        default=12345,
        metavar="P",
        help="with hosts: worker i of a host listens on port P + i (12345)",
    )
    _flag(
        job,
        "--ssh",
        action="store_true",
        help="start the other hosts from here: same directory, same python, without a password",
    )
    _flag(
        job,
        "--ssh_env",
        action="append",
        default=[],
        metavar="NAME",
        help="with --ssh: an environment variable to take along; may be repeated",
    )
    _flag(job, "--ssh_remote", action="store_true", help=argparse.SUPPRESS)
    how = made.add_argument_group("how they run")
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
        metavar="S",
        help="how long a task may take to end after SIGTERM, before SIGKILL (5; inside of a platform, "
        "which has a limit of its own, 3600)",
    )
    _flag(
        how,
        "--start_timeout_seconds",
        type=float,
        default=600.0,
        metavar="S",
        help="how long to wait for the tasks of other hosts to answer (600)",
    )
    _flag(
        how,
        "--max_restarts",
        type=int,
        default=0,
        metavar="N",
        help="start all tasks again when one fails, N times at most without progress in between: a step "
        "beyond the furthest of all earlier starts (0)",
    )
    _flag(
        how,
        "--restart_backoff_seconds",
        type=float,
        metavar="S",
        help="the pause before the first restart without progress; it doubles up to 60 s (1; 10 where "
        "launchers of other hosts restart their own share, whose tasks take as long to notice)",
    )
    _flag(
        how,
        "--hang_timeout_seconds",
        type=float,
        default=1800.0,
        metavar="S",
        help="when no task has got on for S seconds: print the stacks of all threads, name the stuck task, "
        "and fail; 0: never. The Trainer tells of every step, loops of one's own call "
        "tfdml.heartbeat.beat(step); a job that never did is not watched (1800)",
    )
    _flag(
        how,
        "--min_workers",
        type=int,
        metavar="K",
        help="with --workers and --max_restarts: go on without a worker that keeps failing, with K workers "
        "at least; the next restart is with all again (no fewer than --workers)",
    )
    _flag(
        how,
        "--give_up_after",
        type=int,
        default=3,
        metavar="F",
        help="with --min_workers: how often a worker fails without progress before it is left out; with --ps: how "
        "often one is lost without progress before the job is (3)",
    )
    _flag(
        how,
        "--standby",
        type=int,
        default=0,
        metavar="S",
        help="with --max_restarts or --ps: processes that have imported TensorFlow and wait to become a task at the "
        "next start: as many as this host has tasks, because all of them start again. For spawn; what "
        "tasks are forked from is that already (0)",
    )
    _flag(how, "--dry_run", action="store_true", help="print each task's TF_CONFIG and command")
    made.add_argument("script", metavar="SCRIPT", help="a Python script")
    rest = made.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="handed to the script unchanged"
    )
    rest.required = False  # So that only SCRIPT is said to be missing.
    return made


def check_server_flags(flags: argparse.Namespace) -> None:
    """Raise `ConfigError` for --ps and --evaluator where they cannot be meant."""
    if flags.ps is None:
        if flags.evaluator:
            raise ConfigError(
                "--evaluator is for a job with parameter servers: give --ps=M, too, or let the Trainer validate."
            )
        return
    if flags.ps < 1:
        raise ConfigError(
            f"--ps must be at least 1, got {flags.ps}: leave it out for a job without parameter servers."
        )
    if flags.hosts is not None or flags.hostfile is not None:
        raise ConfigError(
            f"--ps={flags.ps} starts all tasks on this host: leave out --hosts, or let Slurm or Kubernetes start the "
            f"tasks, with TFDML_CLUSTER_PS={flags.ps} for each (docs/clusters.md)."
        )
    if flags.workers is None:
        raise ConfigError(
            f"--ps={flags.ps} needs workers that train: give --workers=N, too. Inside of a platform that made the "
            f"tasks, set TFDML_CLUSTER_PS={flags.ps} instead."
        )
    if flags.min_workers is not None:
        raise ConfigError(
            f"--min_workers={flags.min_workers} does not apply with --ps, where the job goes on without a lost "
            "worker until it is back: leave it out."
        )


def check_restart_flags(flags: argparse.Namespace) -> None:
    """Raise `ConfigError` for flags about failures that cannot be meant."""
    for name in ("restart_backoff_seconds", "hang_timeout_seconds"):
        value = getattr(flags, name)
        if value is not None and not 0 <= value < math.inf:
            never = " Use 0 for never." if name == "hang_timeout_seconds" else ""
            raise ConfigError(f"--{name} must be 0 or more seconds, got {value:g}.{never}")
    if flags.max_restarts < 0:
        raise ConfigError(f"--max_restarts must be 0 or more, got {flags.max_restarts}.")
    if flags.give_up_after < 1:
        raise ConfigError(f"--give_up_after must be 1 or more failures, got {flags.give_up_after}.")
    if flags.standby < 0:
        raise ConfigError(f"--standby must be 0 or more processes, got {flags.standby}.")
    if flags.standby and flags.ssh:
        raise ConfigError(
            f"--standby={flags.standby} is of no use with --ssh, where the launchers of other hosts end with each "
            "start: start the same line on every host without --ssh, or leave --standby out."
        )
    if flags.standby and not flags.max_restarts and flags.ps is None:
        raise ConfigError(
            f"--standby={flags.standby} is for tasks that start again: allow that with --max_restarts=N, or leave it "
            "out."
        )
    fewest = flags.min_workers
    if fewest is None:
        return
    workers = flags.workers
    if workers is None:
        raise ConfigError(
            f"--min_workers={fewest} leaves out workers that the launcher has made itself: give --workers, too."
        )
    if not 1 <= fewest <= workers:
        raise ConfigError(
            f"--min_workers must be from 1 to {workers}, the number of --workers, got {fewest}."
        )
    if flags.max_restarts < flags.give_up_after:
        raise ConfigError(
            f"--min_workers={fewest} leaves a worker out after {flags.give_up_after} failures (--give_up_after), but "
            f"--max_restarts={flags.max_restarts} ends the job before: allow at least that many restarts."
        )


def _flag(group: Any, name: str, *, help: str, **options: Any) -> None:
    """Add a flag in both of its spellings; the help shows one."""
    group.add_argument(name, help=help, **options)
    dashed = "--" + name[2:].replace("_", "-")
    if dashed != name:
        options["default"] = argparse.SUPPRESS
        group.add_argument(dashed, dest=name[2:], help=argparse.SUPPRESS, **options)
