"""`tfdml stacks`: where all tasks of a job stand, in Python."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfdml.config.flags import with_underscores
from tfdml.errors import ConfigError

UNANSWERED_STATUS = 1

_DESCRIPTION = """\
Print the Python stacks of all tasks of a job that runs on this host, as they are now. The tasks go on.
It finds tasks that have begun to train with tfdml.callbacks.Monitoring, as recipes do."""
_EXAMPLES = """\
examples:
  tfdml stacks runs/digits
  tfdml stacks runs/digits; sleep 10; tfdml stacks runs/digits     does it move?

Tasks on other hosts are named with what to type there. Stacks are kept in MODEL_DIR/monitoring/TASK.stacks, too.
Exit status: 0; 1 if a task of this host did not answer; 2 for a wrong command line, or where nothing runs."""


@dataclass
class _Asked:
    path: Path
    offset: int


def main(argv: Sequence[str]) -> int:
    flags = _parser().parse_args(with_underscores(argv))
    if flags.timeout_seconds <= 0:
        raise ConfigError(
            f"--timeout_seconds must be positive, got {flags.timeout_seconds}. Leave it out for 5."
        )
    from tfdml.monitoring import stacks
    from tfdml.runs.views.job import Job

    job = Job(Path(flags.model_dir))
    asked: dict[str, _Asked] = {}
    elsewhere: dict[str, list[str]] = {}
    missing: dict[str, str] = {}
    # First all, then what they say: stacks of one moment tell who waits for whom.
    for task in job.tasks:
        start = task.now
        if start is None:
            missing[task.name] = "has not begun to train"
        elif start.is_alive() is None:
            elsewhere.setdefault(start.host, []).append(task.name)
        elif not start.is_alive():
            missing[task.name] = f"does not run: {task.state(time.time())}"
        else:
            path = stacks.stacks_path(job.model_dir, task.name)
            if not stacks.answers(start.pid, path):
                missing[task.name] = (
                    f"process {start.pid} does not answer to {path}: it is another process, or one of another user, "
                    "or could not write there"
                )
                continue
            try:
                asked[task.name] = _Asked(path, stacks.ask(start.pid, path))
            except OSError as error:
                missing[task.name] = f"process {start.pid} cannot be asked: {error.strerror}"
    if not asked and not elsewhere:
        reasons = "; ".join(f"{name} {reason}" for name, reason in missing.items())
        raise ConfigError(
            f"{job.model_dir}: no task of it can be asked here: {reasons}. `tfdml top` shows how the run ended."
        )
    for task in job.tasks:
        if task.name not in asked:
            continue
        start = task.now
        assert start is not None
        one = asked[task.name]
        text = stacks.wait_for(one.path, one.offset, flags.timeout_seconds)
        print(f"== {task.name} (process {start.pid}, step {start.last_step:,})")
        if not text:
            missing[task.name] = (
                f"process {start.pid} did not answer within {flags.timeout_seconds:g} s: it may be stopped by a "
                "signal, or the disk is full"
            )
            text = "(no answer)"
        # Python writes the oldest thread last, and that is the main one.
        print("\n\n".join(reversed(text.strip("\n").split("\n\n"))), end="\n\n")
    sys.stdout.flush()
    for host, names in elsewhere.items():
        where = "runs" if len(names) == 1 else "run"
        command = f"tfdml stacks {shlex.quote(str(job.model_dir.absolute()))}"
        print(f"{', '.join(names)} {where} on host {host}; type there: {command}", file=sys.stderr)
    for name, reason in missing.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return UNANSWERED_STATUS if missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml stacks",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model_dir", metavar="MODEL_DIR")
    parser.add_argument(
        "--timeout_seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="how long to wait for each task (default: %(default)s)",
    )
    return parser
