"""`tfdml cluster`: say how the cluster is found here, or write a file that starts a job somewhere."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdml import cluster, deploy
from tfdml.cli.cluster_found import FORMATTERS, FOUND_FORMATS, explain
from tfdml.cluster import order
from tfdml.deploy.job import Job
from tfdml.errors import ConfigError

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Job)}
_JOB_FLAGS = [
    "time_limit" if name == "time_limit_minutes" else name
    for name in _DEFAULTS
    if name != "command"
]
_SWITCHES = ("-h", "--help", "--explain", "--chief", "--evaluator")  # Flags without a value.

_DESCRIPTION = """\
Say how tfdml finds the cluster in this environment, or write a complete, commented file that starts
SCRIPT on a platform."""

_EPILOG = """\
formats that describe the cluster that is here:
{found}

formats that write a file for a job, with SCRIPT and its arguments at the end:
{files}

examples:
  Which platform applies here, and why the others do not:
    tfdml cluster --explain

  Hand the cluster on to a program that knows TF_CONFIG only (in a task that srun started):
    eval "$(tfdml cluster --from=slurm --format=env)"

  A batch script for Slurm: 4 workers with a GPU each, for a day at most:
    tfdml cluster --format=slurm --workers=4 --gpus_per_worker=1 --time_limit=24h \\
        --output=train.sbatch train.py --model_dir=/shared/a
    sbatch train.sbatch

  The same on Kubernetes, with an image that is made first:
    tfdml cluster --format=dockerfile --image=registry.example/me/train:1 --output=Dockerfile train.py
    tfdml cluster --format=jobset --workers=4 --gpus_per_worker=1 --image=registry.example/me/train:1 \\
        --volume=my-claim --output=train.yaml train.py --model_dir=/shared/a

  Parameter servers and an evaluator on this host, in containers:
    tfdml cluster --format=compose --workers=2 --ps=1 --evaluator train.py > compose.yaml

Flags before SCRIPT are this command's, flags after it the script's. Both spellings are understood,
--gpus_per_worker and --gpus-per-worker. Platforms: {platforms}."""


def main(argv: Sequence[str]) -> int:
    """Print, or write to --output; the exit status is 2 where --explain ends with an error."""
    own, command = _split(argv)
    flags = _parser().parse_args(own)
    given = {name: value for name in _JOB_FLAGS if (value := getattr(flags, name)) is not None}
    if flags.explain:
        _refuse_job("--explain", given, command)
        if flags.format is not None:
            raise ConfigError("--explain shows how the cluster is found: leave out --format.")
        text, status = explain(flags.platform)
    elif flags.format in deploy.FILES:
        text, status = _file(flags, given, command), 0
    else:
        name = flags.format or "tf_config"
        _check_format(name)
        _refuse_job(f"--format={name}", given, command)
        text, status = FORMATTERS[name](cluster.locate(platform=flags.platform)), 0
    if flags.output is None:
        print(text, end="" if text.endswith("\n") or not text else "\n")
    else:
        _write(Path(flags.output), text, flags)
    return status


def _check_format(name: str) -> None:
    if name not in FOUND_FORMATS:
        known = [*FOUND_FORMATS, *deploy.FILES]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"--format={name}: unknown; the formats are {', '.join(known)}.{hint}")


def _refuse_job(what: str, given: dict[str, Any], command: Sequence[str]) -> None:
    """Flags of a job, or a script, with something that only describes what is here."""
    extra = [f"--{name}" for name in given] + ([repr(command[0])] if command else [])
    if extra:
        raise ConfigError(
            f"{what} describes the cluster that is here, so there is no use for {', '.join(extra)}: "
            f"leave it out, or name a file to write, --format={'|'.join(deploy.FILES)}."
        )


# A file.


def _file(flags: argparse.Namespace, given: dict[str, Any], command: Sequence[str]) -> str:
    if flags.platform is not None:
        raise ConfigError(
            f"--format={flags.format} writes a file for a job that is still to start, so there is no "
            f"use for --from={flags.platform}, which finds the cluster that is here: leave it out."
        )
    if not command:
        raise ConfigError(
            f"--format={flags.format} writes a file that runs a script: name the script and its "
            "arguments after the flags."
        )
    limit = given.pop("time_limit", None)
    if limit is not None:
        given["time_limit_minutes"] = _minutes(limit)
    return deploy.generate(flags.format, Job(command=tuple(command), **given))


def _write(path: Path, text: str, flags: argparse.Namespace) -> None:
    try:
        # Exclusively: somebody may have edited the file that is there.
        with path.open("x", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")
    except FileExistsError:
        raise ConfigError(
            f"--output={path} is there already: remove it, or give another name."
        ) from None
    except OSError as error:
        raise ConfigError(f"--output={path} cannot be written: {error.strerror}.") from None
    kind = deploy.FILES.get(flags.format)
    if kind is None:
        return
    if kind.is_script:
        path.chmod(path.stat().st_mode | 0o111)
    image = flags.image or _DEFAULTS["image"]
    start = kind.start.format(file=shlex.quote(str(path)), image=image)
    print(f"wrote {path}; start it with: {start}", file=sys.stderr)


def _minutes(text: str) -> int:
    """ "90m", "24h", "2d" or "1d12h" as minutes."""
    match = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?", text, re.ASCII)
    if not match or not text:
        raise ConfigError(
            f"--time_limit must be days, hours and minutes, like 90m, 24h or 1d12h, got {text!r}."
        )
    days, hours, minutes = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


# The command line.


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """This command's own flags, and the script with its arguments.

    argparse cannot do it: a positional argument that may be missing takes all that follows at once.
    """
    position = 0
    while position < len(argv) and argv[position].startswith("-") and argv[position] != "--":
        takes_next = "=" not in argv[position] and argv[position] not in _SWITCHES
        position += 2 if takes_next else 1
    rest = list(argv[position:])
    return list(argv[:position]), rest[1:] if rest[:1] == ["--"] else rest


def _parser() -> argparse.ArgumentParser:
    def table(rows: dict[str, str]) -> str:
        return "\n".join(f"  {name:<12}{summary}" for name, summary in rows.items())

    parser = argparse.ArgumentParser(
        prog="tfdml cluster",
        usage="tfdml cluster [flags] [SCRIPT [script flags]]",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(
            found=table(FOUND_FORMATS),
            files=table({name: kind.summary for name, kind in deploy.FILES.items()}),
            platforms=", ".join(order.PLATFORMS),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what to say")
    _flag(what, "--format", metavar="FORMAT", help="see below (tf_config)")
    _flag(
        what,
        "--from",
        dest="platform",
        metavar="PLATFORM",
        help="look for this platform and no other (all, in the order of --explain)",
    )
    _flag(what, "--explain", action="store_true", help="what each platform says, and which applies")
    _flag(what, "--output", metavar="FILE", help="write FILE, which must not be there yet (print)")
    job = parser.add_argument_group("the job that a file starts")
    for name, metavar, text in (
        ("workers", "N", "worker tasks"),
        ("ps", "N", "parameter servers, with a chief that coordinates"),
        ("gpus_per_worker", "G", "GPUs of each task that trains"),
        ("cpus_per_worker", "C", "CPUs of each task"),
        ("memory_gib_per_worker", "M", "memory of each task, GiB"),
        ("save_seconds", "S", "SIGTERM comes this long before the time limit: tasks save, exit 42"),
        ("max_restarts", "R", "restarts after failures; preemptions count where said so"),
        ("port", "P", "port of a host's first task"),
    ):
        default = _DEFAULTS[name]
        shown = "the platform's" if default is None else default
        _flag(job, f"--{name}", type=int, metavar=metavar, help=f"{text} ({shown})")
    for name, text in (
        ("chief", "a chief beside the workers; else worker 0 is the chief"),
        ("evaluator", "a task that evaluates checkpoints while the others train"),
    ):
        _flag(job, f"--{name}", action="store_true", default=None, help=text)
    for name, metavar, text in (
        ("name", "NAME", "name of the job"),
        ("image", "IMAGE", "container image"),
        ("namespace", "NS", "namespace of Kubernetes"),
        (
            "volume",
            "V",
            "what all tasks share: a claim of Kubernetes, a volume of Docker, a directory",
        ),
        ("mount_path", "DIR", "where tasks in containers see it"),
    ):
        _flag(job, f"--{name}", metavar=metavar, help=f"{text} ({_DEFAULTS[name]})")
    _flag(job, "--time_limit", metavar="T", help="like 90m, 24h or 1d12h (24h)")
    return parser


def _flag(group: Any, name: str, *, help: str, **options: Any) -> None:
    """Add a flag in both of its spellings; the help shows one."""
    options.setdefault("dest", name[2:])
    group.add_argument(name, help=help, **options)
    dashed = "--" + name[2:].replace("_", "-")
    if dashed != name:
        options["default"] = argparse.SUPPRESS
        group.add_argument(dashed, help=argparse.SUPPRESS, **options)
