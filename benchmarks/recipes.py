"""Examples/s and memory of every recipe with every strategy, beside a loop written by hand for one device.

Each side is the recipe as people start it, in processes of its own, with the settings of its configs/ and few epochs;
all sides of a recipe take turns. The loop by hand (`recipes_by_hand.py`) has the recipe's model and data. Rates are
those of whole epochs without validation, the first left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from table import Row, report

ROOT = Path(__file__).parent.parent
BY_HAND = "by hand"
LIMIT_SECONDS = 400
# Flags of the launcher by strategy; the names are those of the files in configs/.
STRATEGIES: dict[str, tuple[str, ...]] = {
    "default": (),
    "mirrored": (),
    "multi_worker": ("--workers=2",),
    "parameter_server": ("--workers=2", "--ps=2"),
}
OVERRIDES = {"mirrored": ["strategy.num_virtual_devices=2"]}
# Enough steps for a rate, few enough that all is done in some minutes.
RECIPES: dict[str, list[str]] = {
    "image_classifier": ["train.epochs=8"],
    "recommender": ["train.epochs=5"],
    "language_model": ["train.epochs=3", "train.steps_per_epoch=24"],
    "tabular": ["train.epochs=12"],
}


@dataclass
class Found:
    """Examples/s of the job, and the most memory of its tasks, in bytes."""

    examples_per_second: float
    trains: int
    serves: int | None = None


def main() -> None:
    flags = parse()
    rows: list[Row] = []
    for recipe in flags.recipes:
        rows += measure(recipe, flags.rounds)
    report("Recipes on this machine", rows, None)
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")
    if flags.json:
        Path(flags.json).write_text(json.dumps([asdict(row) for row in rows], indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one recipe, one round")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--rounds", type=int, default=3, help="runs of every side")
    parser.add_argument(
        "--recipes", type=lambda text: text.split(","), help=f"of {', '.join(RECIPES)}; all"
    )
    flags = parser.parse_args()
    flags.recipes = flags.recipes or (["image_classifier"] if flags.quick else list(RECIPES))
    unknown = [name for name in flags.recipes if name not in RECIPES]
    if unknown:
        parser.error(f"--recipes takes {', '.join(RECIPES)}, got {', '.join(unknown)}")
    if flags.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {flags.rounds}")
    if flags.quick:
        flags.rounds = 1
    return flags


def measure(recipe: str, rounds: int) -> list[Row]:
    configs = ROOT / "configs" / recipe
    sides = [BY_HAND, *(name for name in STRATEGIES if (configs / f"{name}.yaml").exists())]
    found: dict[str, list[Found]] = {side: [] for side in sides}
    for number in range(rounds):
        shift = number % len(sides)
        for side in sides[shift:] + sides[:shift]:
            print(f"{recipe}, {side}, round {number + 1} of {rounds}", file=sys.stderr)
            found[side].append(run(recipe, side))
    rows = []
    for side in sides:
        rates = [one.examples_per_second for one in found[side]]
        rows.append(Row(f"{recipe}, {side}", statistics.median(rates), "examples/s"))
        if side != BY_HAND:
            over = [
                rate / other.examples_per_second
                for rate, other in zip(rates, found[BY_HAND], strict=True)
            ]
            rows.append(
                Row(f"{recipe}, {side}", statistics.median(over), "ratio", baseline=BY_HAND)
            )
        trains = max(one.trains for one in found[side])
        rows.append(Row(f"{recipe}, {side}: most of a task", trains / 1e6, "MB", "lower"))
        serves = [one.serves for one in found[side] if one.serves]
        if serves:
            name = f"{recipe}, {side}: most of a worker or ps"
            rows.append(Row(name, max(serves) / 1e6, "MB", "lower"))
    return rows


def run(recipe: str, side: str) -> Found:
    """One training, to its end.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    config = "default" if side == BY_HAND else side
    with tempfile.TemporaryDirectory() as directory:
        flags = [
            f"--config={ROOT / 'configs' / recipe / config}.yaml",
            f"--model_dir={directory}",
            "--mode=train",
        ]
        for setting in (*RECIPES[recipe], *OVERRIDES.get(side, ())):
            flags += ["--set", setting]
        script = str(ROOT / "recipes" / f"train_{recipe}.py")
        if side == BY_HAND:
            command = [sys.executable, str(Path(__file__).parent / "recipes_by_hand.py"), script]
        else:
            launch = (sys.executable, "-m", "tfdml.cli.main", "launch")
            command = [*launch, *STRATEGIES[side], script]
        text, peaks = watch([*command, *flags])
        if side == BY_HAND:
            told = re.search(r"^by hand: ([\d.]+) examples/s$", text, re.MULTILINE)
            if told is None:
                raise RuntimeError(f"{recipe}: no rate in {text[-2000:]}")
            return Found(float(told.group(1)), max(peaks.values()))
        return read(Path(directory) / "monitoring", peaks)


def watch(command: list[str]) -> tuple[str, dict[int, int]]:
    """Run `command`: what it printed, and by process the most memory that was resident."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}  # as `tfdml launch` does
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peaks: dict[int, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for number in processes(process.pid):
                peaks[number] = max(peaks.get(number, 0), peak_bytes(number))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        text, _ = process.communicate(timeout=LIMIT_SECONDS)
    except BaseException:
        process.terminate()  # the launcher ends its tasks
        process.wait(60)
        raise
    finally:
        over.set()
        thread.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {text[-2000:]}")
    return text, peaks


def processes(number: int) -> Iterator[int]:
    try:
        yield number
        yield from (child.pid for child in psutil.Process(number).children(recursive=True))
    except psutil.NoSuchProcess:
        return


def peak_bytes(number: int) -> int:
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:
        return 0
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(peak.group(1)) if peak else 0


def read(directory: Path, peaks: dict[int, int]) -> Found:
    """What the tasks of a job wrote while they trained."""
    lines = [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    rates = [
        line["values"]["examples_per_second"]
        for line in lines
        if line["kind"] == "scalars" and (line["scope"], line["split"]) == ("epoch", "train")
    ]
    training = {line["pid"] for line in lines if line["kind"] == "started"}
    # The launcher and the process that tasks are forked from are no tasks, and smaller than any.
    servers = sorted(
        (peak for number, peak in peaks.items() if number not in training), reverse=True
    )
    has_servers = any("chief" in line.get("task", "") for line in lines)
    return Found(
        statistics.median(rates[1:]),
        max(peaks[number] for number in training),
        servers[0] if has_servers else None,
    )


if __name__ == "__main__":
    main()
