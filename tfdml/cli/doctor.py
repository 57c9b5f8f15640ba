"""`tfdml doctor`: what is installed, what is there, and what would go wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tfdml.errors import ConfigError

FAILURE_STATUS = 1
_LEAST_PARAMETERS, _MOST_PARAMETERS = 10_000, 100_000_000

_DESCRIPTION = """\
Look at this host, the cluster that the environment describes, TensorFlow and the native ops, and say
what would go wrong when a job starts here, before it does."""

_EXAMPLES = """\
examples:
  This host, and the cluster as a task started from here would find it:
    tfdml doctor --model_dir=/shared/runs/a

  A recipe's model and settings too. The script runs up to its Trainer.fit, and does not train:
    tfdml doctor --recipe=recipes/train_image_classifier.py \\
        --config=configs/image_classifier/multi_worker.yaml --set train.global_batch_size=96

  Latency and bandwidth between the tasks, and which compression of gradients pays there. The same
  line on every task, at the same time; it takes less than a minute:
    srun tfdml doctor --probe
    mpirun -H a,b -x TFDML_HOSTS=a,b tfdml doctor --probe
    TFDML_HOSTS=a,b tfdml doctor --probe          # on a and on b
  Where there is no cluster, two tasks on this host are measured.

  For a program:
    tfdml doctor --json | jq '.findings[] | select(.level == "error")'

In a program that has a model already: tfdml.doctor.preflight(model, strategy, global_batch_size).

ok, note, warning: a job runs. error: it would fail, hang, or silently train something else.
docs/doctor.md lists the checks. Flags are understood in both spellings, --model_dir and --model-dir.

Exit status: 0 if nothing would fail, 1 if something would, 2 for a wrong command line."""


def main(argv: Sequence[str]) -> int:
    flags = _parser().parse_args([_underscored(word) for word in argv])
    if (flags.config or flags.set) and not flags.recipe:
        raise ConfigError(
            "--config and --set are settings of a recipe: add --recipe=SCRIPT, the script that reads them."
        )
    if flags.recipe and not Path(flags.recipe).is_file():
        raise ConfigError(f"--recipe={flags.recipe}: no such file. Give the path of a script.")
    if not _LEAST_PARAMETERS <= flags.parameters <= _MOST_PARAMETERS:
        raise ConfigError(
            f"--parameters must be from {_LEAST_PARAMETERS:,} to {_MOST_PARAMETERS:,}, the gradients that "
            f"are exchanged for the measurement, got {flags.parameters:,}."
        )

    # Imported here, so that --help answers at once.
    from tfdml.doctor import order, report
    from tfdml.doctor.finding import would_fail
    from tfdml.doctor.subject import Subject

    subject = Subject(
        model_dir=Path(flags.model_dir) if flags.model_dir else None,
        recipe=Path(flags.recipe) if flags.recipe else None,
        config_files=tuple(flags.config),
        overrides=tuple(flags.set),
        probe=flags.probe,
        parameters=flags.parameters,
    )
    table = None if flags.json else report.TableReport(sys.stdout)
    findings = []
    try:
        with closing(subject):
            for section, found in order.examine(subject):
                findings += found
                if table:
                    table.add(section, found)
        if table:
            table.end()
        else:
            print(report.as_json(findings), flush=True)
    except BrokenPipeError:  # As of `tfdml doctor | head`: nobody reads on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE_STATUS
    return FAILURE_STATUS if would_fail(findings) else 0


def _underscored(word: str) -> str:
    name, equals, value = word.partition("=")
    return (
        name.replace("-", "_").replace("__", "--", 1) + equals + value if word[:2] == "--" else word
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml doctor",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model_dir",
        metavar="DIR",
        help="where the job will write (default: looks at this directory)",
    )
    parser.add_argument(
        "--recipe", metavar="SCRIPT", help="a training script whose model to look at"
    )
    parser.add_argument(
        "--config", metavar="FILE", action="append", default=[], help="of the recipe; repeatable"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="of the recipe; repeatable"
    )
    parser.add_argument(
        "--probe", action="store_true", help="measure between the tasks, and compare compressions"
    )
    parser.add_argument(
        "--parameters",
        metavar="N",
        type=int,
        default=4_000_000,
        help="with --probe: how many gradients are exchanged (4000000); your model's number",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
