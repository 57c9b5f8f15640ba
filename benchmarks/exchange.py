"""Milliseconds to exchange 4,000,000 float32 gradients over a limited link: codecs, TensorFlow, PyTorch.

The whole path is timed: add the residual, encode, travel, decode, new residual. All sides of a table take
turns, one exchange each, after idle gaps of 50 ms; the processes stay and the link's rate changes under them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compressions import from_the_first_step
from linkbench import Link, bits_per_second, check_link
from rich.console import Console
from rich.table import Table as RichTable
from scaling import TORCH_PYTHON, find_torch
from table import Row, report
from taking_turns import Program

from tfdml.errors import ConfigError, exit_on_user_error

TF_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "1",
}

HERE = Path(__file__).parent
ELEMENTS, ROWS = 4_000_000, 2000

TF_PACKS = {"TF float32, 1 pack": 1, "TF float32, 4 packs": 4, "TF float32, 16 packs": 16}
TF_SIDES = (*TF_PACKS, "TF float16")
TORCH_SIDES = (
    "gloo float32",
    "gloo float16",
    "DDP",
    "DDP fp16 hook",
    "DDP PowerSGD r1",
    "DDP PowerSGD r4",
)
HOOKS = TORCH_SIDES[-3:]
CODECS = (
    *("none", "fp16", "bf16", "int8", "int4", "topk", "powersgd"),
    *("signsgd", "qsgd", "terngrad", "randomk", "dgc"),
)
ONE_SHOT, TWO_PHASE = "int8, one_shot", "int8, two_phase"

# What is to be reached with 2 workers at 1 Gbit/s, over the best of TF_PACKS: floor and target.
BOUNDS_AT = (2, "1gbit")
BOUNDS = {
    "fp16": (0.6, 0.5),
    "bf16": (0.6, 0.5),
    "int8": (0.4, 0.3),
    "int4": (0.25, 0.18),
    "topk": (0.15, 0.1),
    "powersgd": (0.15, 0.1),
    "signsgd": (0.12, 0.08),
}
BEAT_THE_HOOKS = ("int4", "topk", "powersgd", "signsgd")

# How far sums may be from the exact ones, relative to their norm. The gradients are noise, the hardest case,
# so the codecs that keep little have no bound here: their contract is tested in tests/compression.
MOST_ERROR = {
    **dict.fromkeys(["none", "gloo float32", "DDP", *TF_PACKS], 1e-6),
    **dict.fromkeys(["fp16", "TF float16", "gloo float16", "DDP fp16 hook"], 2e-3),
    **dict.fromkeys(["int8", ONE_SHOT, TWO_PHASE], 5e-2),
    "bf16": 2e-2,
    "int4": 0.5,
}


@dataclass
class Measured:
    """What one number of workers gave."""

    workers: int
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # [rate][side]
    found: dict[str, dict[str, Any]] = field(default_factory=dict)  # [side]
    skipped: dict[str, str] = field(default_factory=dict)  # [side]: why
    note: str = ""  # which ops the codecs used

    def milliseconds(self, rate: str, side: str) -> float | None:
        every = self.seconds[rate].get(side)
        return 1000 * statistics.median(every) if every else None

    def ratio(self, rate: str, side: str, others: tuple[str, ...]) -> float | None:
        """Over the fastest of `others`."""
        theirs = [ms for other in others if (ms := self.milliseconds(rate, other)) is not None]
        mine = self.milliseconds(rate, side)
        return mine / min(theirs) if theirs and mine is not None else None


def main() -> None:
    flags = parse()
    with exit_on_user_error():
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise ConfigError(
                f"exchange needs 2 cores, one for each of 2 workers, got {len(cores)}. "
                "Run it on a larger machine, or give this process more with taskset."
            )
        torch_python = find_torch()
        measured = [measure(count, flags, cores, torch_python) for count in flags.workers]
    rows = [row for each in measured for row in rows_of(each)]
    for each in measured:
        print_matrix(each)
    report("Exchange: what is to be reached", [row for row in rows if row.floor is not None], None)
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")
    if flags.json:
        Path(flags.json).write_text(json.dumps([asdict(row) for row in rows], indent=2))


def parse() -> argparse.Namespace:
    numbers = lambda text: [int(number) for number in text.split(",")]
    names = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 workers, 1 Gbit/s, about a minute")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--workers", type=numbers, help="how many, such as 2,4")
    parser.add_argument("--rates", type=names, help="of the link, such as none,1gbit,200mbit")
    parser.add_argument("--tensors", type=int, default=1, help="cut the 2000 x 2000 matrix into N")
    parser.add_argument("--rounds", type=int, help="exchanges of each side; the median counts")
    parser.add_argument("--codecs", type=names, default=list(CODECS), help="such as none,int8")
    flags = parser.parse_args()
    flags.workers = flags.workers or ([2] if flags.quick else [2, 4])
    flags.rates = flags.rates or (["1gbit"] if flags.quick else ["none", "1gbit", "200mbit"])
    flags.rounds = flags.rounds or (7 if flags.quick else 15)
    with exit_on_user_error():
        for rate in flags.rates:
            bits_per_second(rate)
        if ROWS % flags.tensors:
            raise ConfigError(
                f"`--tensors` must divide the {ROWS} rows of the matrix, got {flags.tensors}. "
                "Use for example 16."
            )
    return flags


# -- measure


def measure(
    workers: int, flags: argparse.Namespace, cores: list[int], torch_python: str | None
) -> Measured:
    result = Measured(workers)
    shapes = json.dumps([[ROWS // flags.tensors, ELEMENTS // ROWS]] * flags.tensors)
    with Link(workers) as link:
        programs = [tensorflow(link, flags, cores, shapes, workers)]
        if torch_python:
            script = str(HERE / "peers" / "gloo_exchange.py")
            command = [torch_python, script, f"--shapes={shapes}"]
            environment = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
            programs.append(Program(link, command, cores, environment))
        else:
            reason = f"torch is not installed; {TORCH_PYTHON} may name an interpreter that has it"
            result.skipped |= dict.fromkeys(TORCH_SIDES, reason)
        turns = [(program, side) for program in programs for side in program.sides]
        result.note = programs[0].note
        for program, side in turns:
            result.found[side] = check(side, program.findings(side))
        for program in programs:
            result.skipped |= program.skipped
        for rate in flags.rates:
            link.limit(rate)
            for passage in check_link(link):
                print(passage.describe(), file=sys.stderr)
            result.seconds[rate] = {side: [] for _, side in turns}
            for round_number in range(flags.rounds + 1):
                first = round_number % len(turns)
                for program, side in turns[first:] + turns[:first]:
                    seconds = program.seconds(side)
                    if round_number:  # the first one fills the connections' windows
                        result.seconds[rate][side].append(seconds)
    return result


def tensorflow(
    link: Link, flags: argparse.Namespace, cores: list[int], shapes: str, workers: int
) -> Program:
    specs: dict[str, Any] = {name: from_the_first_step(name) for name in flags.codecs}
    if workers > 2 and "int8" in specs:
        specs[ONE_SHOT] = {"name": "int8", "exchange": "one_shot"}
        specs[TWO_PHASE] = {"name": "int8", "exchange": "two_phase"}
    command = [
        *(sys.executable, str(HERE / "exchange_worker.py"), f"--shapes={shapes}"),
        *(f"--packs={json.dumps(TF_PACKS)}", f"--specs={json.dumps(specs)}"),
    ]
    return Program(link, command, cores, TF_ENVIRONMENT)


def check(side: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Bits are the same on all workers already; that they are the right ones is seen here."""
    if not found["error"] <= MOST_ERROR.get(side, float("inf")):  # also where it is not a number
        raise RuntimeError(
            f"{side}: the sums are wrong by {found['error']:.2g}, at most {MOST_ERROR[side]:g}"
        )
    return dict(found)


# -- report


def rows_of(measured: Measured) -> list[Row]:
    rows = []
    for rate, of_sides in measured.seconds.items():
        at = f"{measured.workers} workers, {rate}"
        for side in (*of_sides, *measured.skipped):
            why = measured.skipped.get(side, "")
            value = measured.milliseconds(rate, side)
            rows.append(Row(f"{at}: {side}", value, "ms", "lower", baseline=why))
        for side in (*of_sides, *measured.skipped):
            if side in TF_PACKS:
                continue
            bounded = (measured.workers, rate) == BOUNDS_AT and side in BOUNDS
            floor, target = BOUNDS[side] if bounded else (None, None)
            ratio = measured.ratio(rate, side, tuple(TF_PACKS))
            best = "TF float32, best of 1, 4, 16 packs"
            rows.append(Row(f"{at}: {side}", ratio, "ratio", "lower", floor, target, best))
        if (measured.workers, rate) == BOUNDS_AT:
            for side in BEAT_THE_HOOKS:
                for hook in HOOKS:
                    ratio = measured.ratio(rate, side, (hook,))
                    rows.append(Row(f"{at}: {side}", ratio, "ratio", "lower", 1.0, None, hook))
        if ONE_SHOT in of_sides and TWO_PHASE in of_sides:
            ratio = measured.ratio(rate, TWO_PHASE, (ONE_SHOT,))
            rows.append(Row(f"{at}: {TWO_PHASE}", ratio, "ratio", "lower", 1.0, None, ONE_SHOT))
    return rows


def print_matrix(measured: Measured) -> None:
    """A line for each side: median milliseconds and the ratio to TensorFlow's best, rate by rate."""
    table = RichTable(
        title=f"Exchange of {ELEMENTS:,} float32, {measured.workers} workers, {measured.note}"
    )
    table.add_column("")
    for rate in measured.seconds:
        table.add_column(f"{rate}, ms", justify="right")
        table.add_column("ratio", justify="right")
    for heading in ("received, MB", "error"):
        table.add_column(heading, justify="right")
    for side, found in measured.found.items():
        cells = []
        for rate in measured.seconds:
            cells.append(f"{measured.milliseconds(rate, side):.1f}")
            ratio = measured.ratio(rate, side, tuple(TF_PACKS))
            cells.append("" if ratio is None else f"{ratio:.3f}")
        received = f"{found['bytes'] / 1e6:.2f}" if "bytes" in found else ""
        table.add_row(side, *cells, received, f"{found['error']:.1g}")
    console = Console(width=None if os.isatty(1) else 120)
    console.print(table)
    for why in dict.fromkeys(measured.skipped.values()):
        sides = [side for side, reason in measured.skipped.items() if reason == why]
        console.print(f"Not run: {', '.join(sides)}: {why}")


if __name__ == "__main__":
    main()
