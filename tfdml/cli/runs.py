"""`tfdml runs`: what was trained, how good it is, what differs, and which exported version is the current one."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tfdml.config.flags import with_underscores
from tfdml.runs import record, versions
from tfdml.runs.compare import Gate
from tfdml.runs.record import RunRecord

WORSE_STATUS = 1

_DESCRIPTION = "Look at runs of recipes by the run.json in their --model_dir."
_EXAMPLES = """\
examples:
  tfdml runs list                                  all below ./runs
  tfdml runs show runs/digits
  tfdml runs compare runs/a runs/b runs/c          settings that differ, and metrics side by side
  tfdml runs compare runs/old runs/new --fail_if_worse=accuracy:0.005 --fail_if_worse=seconds:60:lower
  tfdml runs promote runs/digits 3                 runs/digits/versions/current leads to 3 from now on
  tfdml runs rollback runs/digits                  and to what it led to before

A metric of a slice is written as METRIC[FEATURE=SLICE], for example accuracy[label=8].

Exit status: 0; 1 if --fail_if_worse finds a run worse than the first; 2 for a wrong command line or run."""


def main(argv: Sequence[str]) -> int:
    flags = _parser().parse_args(with_underscores(argv))
    return flags.command(flags)


def _list(flags: argparse.Namespace) -> int:
    found = list(record.find([Path(each) for each in flags.directories]))
    if flags.json:
        _print_json([_as_json(path, run) for path, run in found if isinstance(run, RunRecord)])
        return 0
    from tfdml.runs import report

    report.print_list(found)
    return 0


def _show(flags: argparse.Namespace) -> int:
    path = Path(flags.directory)
    run = RunRecord.read(path)
    if flags.json:
        _print_json(_as_json(path, run))
        return 0
    from tfdml.runs import report

    report.print_run(path, run)
    return 0


def _compare(flags: argparse.Namespace) -> int:
    gates = [Gate.parse(text) for text in flags.fail_if_worse]
    paths = [Path(each) for each in (flags.first, *flags.others)]
    runs = [RunRecord.read(path) for path in paths]
    verdicts = [
        f"{path}: {verdict}"
        for path, run in zip(paths[1:], runs[1:], strict=True)
        for gate in gates
        if (verdict := gate.verdict(runs[0], run))
    ]
    from tfdml.runs import report
    from tfdml.runs.compare import differences

    if flags.json:
        _print_json(
            {
                "runs": [str(path) for path in paths],
                "metrics": [run.metrics() for run in runs],
                "differences": differences(runs),
                "worse": verdicts,
            }
        )
    else:
        report.print_comparison(paths, runs)
    for verdict in verdicts:
        print(verdict, file=sys.stderr)
    return WORSE_STATUS if verdicts else 0


def _promote(flags: argparse.Namespace) -> int:
    before = versions.promote(Path(flags.directory), flags.version)
    was = "" if before is None else f"; before it was {before}"
    print(f"version {flags.version} is the current one of {flags.directory}{was}")
    return 0


def _rollback(flags: argparse.Namespace) -> int:
    now, before = versions.rollback(Path(flags.directory))
    print(f"version {now} is the current one of {flags.directory} again; it was {before}")
    return 0


def _as_json(path: Path, run: RunRecord) -> dict:
    return {
        "directory": str(path),
        **asdict(run),
        "status": run.shown_status,
        "versions": versions.known(path),
        "current_version": versions.current(path),
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml runs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        required=True, metavar="list | show | compare | promote | rollback"
    )

    listing = commands.add_parser("list", help="one line for each run in and below directories")
    listing.add_argument("directories", metavar="DIR", nargs="*", default=["runs"])
    listing.set_defaults(command=_list)

    show = commands.add_parser("show", help="all about one run")
    show.add_argument("directory", metavar="DIR")
    show.set_defaults(command=_show)

    compare = commands.add_parser("compare", help="metrics side by side, and what differs")
    compare.add_argument("first", metavar="DIR", help="what the others are compared with")
    compare.add_argument("others", metavar="DIR", nargs="+")
    compare.add_argument(
        "--fail_if_worse",
        metavar="METRIC:TOLERANCE[:lower|higher]",
        action="append",
        default=[],
        help="exit with status 1 where a run is worse than the first by more than this; repeatable",
    )
    compare.set_defaults(command=_compare)

    promote = commands.add_parser("promote", help="make an exported version the current one")
    promote.add_argument("directory", metavar="DIR")
    promote.add_argument("version", metavar="VERSION", type=int)
    promote.set_defaults(command=_promote)

    rollback = commands.add_parser("rollback", help="make the version before the current one again")
    rollback.add_argument("directory", metavar="DIR")
    rollback.set_defaults(command=_rollback)

    for each in (listing, show, compare):
        each.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
