"""Seconds and bytes to a target accuracy on a slow link, codec by codec, and the accuracy at the end.

The digits of scikit-learn, a 64-1024-896-10 network (about 1 million weights, 4 MB of gradients a step), 2
workers at 200 Mbit/s, each on one core. Every codec trains as many steps as dense does, from the same weights
on the same batches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exchange import CODECS, TF_ENVIRONMENT
from linkbench import Link, check_link
from table import Row, report
from taking_turns import Program

from tfdml.errors import ConfigError, exit_on_user_error

HERE = Path(__file__).parent
WORKERS = 2
DENSE = "none"
QUICK_CODECS = (DENSE, "int8", "int4", "topk")
TARGET_ACCURACY = 0.95
LIMIT_SECONDS = 600.0

# How many times sooner than dense the target must be reached: floor and target.
SOONER = dict.fromkeys(["int8", "int4", "topk"], (2.0, 5.0))

# One run: {"steps", "step_seconds", "step_bytes", "accuracies", ...} or {"skipped": reason}.
Run = dict[str, Any]


def main() -> None:
    flags = parse()
    with exit_on_user_error():
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < WORKERS:
            raise ConfigError(
                f"time_to_accuracy needs {WORKERS} cores, one for each worker, got {len(cores)}. "
                "Run it on a larger machine, or give this process more with taskset."
            )
        runs, ops = measure(flags, cores)
    title = f"Digits to {TARGET_ACCURACY:.0%}, {WORKERS} workers, {flags.rate}, {flags.seeds} seeds, {ops}"
    rows = rows_of(runs)
    report(title, rows, None)
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")
    if flags.json:
        Path(flags.json).write_text(json.dumps([asdict(row) for row in rows], indent=2))


def parse() -> argparse.Namespace:
    names = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one seed, four codecs, a minute or two"
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--rate", default="200mbit", help="of the link")
    parser.add_argument("--codecs", type=names, help="such as int8,topk; dense always runs")
    parser.add_argument("--seeds", type=int, help="runs of each codec, paired with dense")
    parser.add_argument("--steps", type=int, help="of one run")
    flags = parser.parse_args()
    flags.codecs = flags.codecs or list(QUICK_CODECS if flags.quick else CODECS)
    flags.codecs = [DENSE, *(codec for codec in flags.codecs if codec != DENSE)]
    flags.seeds = flags.seeds or (1 if flags.quick else 3)
    flags.steps = flags.steps or (200 if flags.quick else 400)
    return flags


def measure(flags: argparse.Namespace, cores: list[int]) -> tuple[dict[str, list[Run]], str]:
    """Every codec, seed by seed; and which ops the codecs used."""
    command = [
        *(sys.executable, str(HERE / "time_to_accuracy_worker.py"), f"--seeds={flags.seeds}"),
        *(f"--steps={flags.steps}", f"--codecs={json.dumps(flags.codecs)}"),
    ]
    runs: dict[str, list[Run]] = {codec: [] for codec in flags.codecs}
    with Link(WORKERS, flags.rate) as link:
        for passage in check_link(link):
            print(passage.describe(), file=sys.stderr)
        program = Program(link, command, cores, TF_ENVIRONMENT, limit_seconds=LIMIT_SECONDS)
        for side in program.sides:
            run = program.findings(side)
            codec, _, seed = side.rpartition("/")
            runs[codec].append(run)
            print(f"{codec}, seed {seed}: {describe(run)}", file=sys.stderr)
    return runs, program.note


def describe(run: Run) -> str:
    if "skipped" in run:
        return f"not run: {run['skipped']}"
    reached = steps_to_target(run)
    end = f"{1000 * run['step_seconds']:.1f} ms and {run['step_bytes'] / 1e6:.2f} MB a step"
    when = f"target after {reached} steps" if reached else "target not reached"
    return f"{when}, {end}, at the end {final_accuracy(run):.1%}"


# -- report


def steps_to_target(run: Run) -> int | None:
    for steps, accuracy in zip(run["steps"], run["accuracies"], strict=True):
        if accuracy >= TARGET_ACCURACY:
            return steps
    return None


def seconds_to_target(run: Run) -> float | None:
    """Of training alone: evaluation, and the first steps' compilation, are left out."""
    reached = steps_to_target(run)
    return reached * run["step_seconds"] if reached else None


def final_accuracy(run: Run) -> float:
    """The mean of the last evaluations, because one of them is a matter of luck."""
    return statistics.mean(run["accuracies"][-5:])


def median(values: list[float | None]) -> float | None:
    """None if more than half of the runs have no value."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if 2 * len(known) > len(values) else None


def rows_of(runs: dict[str, list[Run]]) -> list[Row]:
    rows = []
    for codec, of_seeds in runs.items():
        skipped = next((run["skipped"] for run in of_seeds if "skipped" in run), None)
        if skipped:
            rows.append(Row(f"{codec}: to the target", None, "s", "lower", baseline=skipped))
            continue
        seconds = [seconds_to_target(run) for run in of_seeds]
        megabytes = [
            steps * run["step_bytes"] / 1e6 if (steps := steps_to_target(run)) else None
            for run in of_seeds
        ]
        why = "" if median(seconds) is not None else "target not reached"
        final = statistics.median(100 * final_accuracy(run) for run in of_seeds)
        rows += [
            Row(f"{codec}: to the target", median(seconds), "s", "lower", baseline=why),
            Row(f"{codec}: received to the target", median(megabytes), "MB", "lower", baseline=why),
            Row(f"{codec}: accuracy at the end", final, "%"),
        ]
        if codec == DENSE:
            continue
        pairs = list(zip(of_seeds, runs[DENSE], strict=True))
        points = [100 * (final_accuracy(run) - final_accuracy(dense)) for run, dense in pairs]
        sooner = [
            theirs / mine
            if (mine := seconds_to_target(run)) and (theirs := seconds_to_target(dense))
            else None
            for run, dense in pairs
        ]
        floor, target = SOONER.get(codec, (None, None))
        name = f"{codec}: times sooner at the target"
        rows += [
            Row(
                f"{codec}: accuracy at the end",
                round(statistics.median(points), 3),
                "points",
                baseline=DENSE,
            ),
            Row(name, median(sooner), "ratio", "higher", floor, target, DENSE),
        ]
    return rows


if __name__ == "__main__":
    main()
