"""Whether a job comes to the same weights whatever happens to it: kills, hangs, SIGTERM, other numbers of workers.

A deterministic job of three workers is disturbed again and again, each time from its beginning, and its final weights
and optimizer are compared with those of the job left alone, bit for bit. Shows each scenario as it ends.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from faults_jobs import Job
from faults_program import write_digits
from faults_scenarios import (
    HANG_TIMEOUT_SECONDS,
    NAMED_WITHIN_SECONDS,
    RESIZED,
    Found,
    Scenario,
    Undisturbed,
    hangs,
    kills,
    launcher_kills,
    preemptions,
    resizes,
)
from table import Row, parse_flags, report

EPOCHS = 4  # of 29 steps
NOISE_SEEDS = range(2, 9)  # of dropout; 1 is that of all other runs
SETUP_FACTOR = 3
DEVIATIONS = 2


class Runs:
    """Runs scenarios one by one, each in a directory of its own, and keeps what was found."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._data.mkdir()
        write_digits(self._data)
        self._epochs = epochs
        self._begin = time.monotonic()
        self._number = 0
        self.found: dict[str, list[Found]] = defaultdict(list)

    def undisturbed(self, dropout_seed: int = 1) -> Undisturbed:
        job = self._new_job(dropout_seed)
        launch = job.launch(flags=())
        result = Undisturbed.of(launch, job.trained())
        text = f"{result.steps} steps, hash {result.hash[:12]}, test loss {result.loss:.4f}"
        self._say(f"undisturbed, dropout seed {dropout_seed}: {text}, {launch.seconds:.1f} s")
        left = Found([f"left behind: {launch.left}"] if launch.left else [])
        self.found["undisturbed"].append(left)
        shutil.rmtree(job.directory)
        return result

    def run(self, scenarios: Iterable[Scenario], undisturbed: Undisturbed) -> None:
        for scenario in scenarios:
            job = self._new_job()
            found = scenario.run(job, undisturbed)
            self.found[scenario.group].append(found)
            seconds = sum(launch.seconds for launch in job.launches)
            text = "; ".join(found.problems) or "yes"
            self._say(f"{scenario.group}? {scenario.name}: {text}, {seconds:.1f} s")
            if not found.problems:
                shutil.rmtree(job.directory)
                continue
            for number, launch in enumerate(job.launches):
                lines = [f"{line.time:.3f} {line.text}\n" for line in launch.lines]
                (job.directory / f"output-{number}.txt").write_text("".join(lines))
            self._say(f"kept: {job.directory}")

    @property
    def has_failed(self) -> bool:
        return any(found.problems for group in self.found.values() for found in group)

    def _new_job(self, dropout_seed: int = 1) -> Job:
        self._number += 1
        directory = self._folder / f"job-{self._number}"
        return Job(directory, self._data, self._epochs, dropout_seed)

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begin:6.1f} s] {self._number}: {text}", flush=True)


def rows_of(
    found: dict[str, list[Found]], undisturbed: Undisturbed, others: Sequence[Undisturbed]
) -> list[Row]:
    """The table.

    Args:
        others: runs that were left alone, with other seeds of dropout.
    """
    seconds = statistics.median(run.seconds for run in (undisturbed, *others))
    rows = [Row("undisturbed run", seconds, "s", "lower", 15)]
    for group, several in found.items():
        if group == "undisturbed":
            continue
        good = sum(not each.problems for each in several)
        rows.append(Row(group, good, f"of {len(several)}", floor=len(several)))
    everything = [each for several in found.values() for each in several]
    asked = sum(each.num_faults for each in everything)
    came = sum(each.num_came for each in everything)
    rows.append(Row("faults that came", came, f"of {asked}", floor=asked))
    left = sum(any("left behind" in p for p in each.problems) for each in everything)
    rows.append(Row("scenarios that left something behind", left, "", "lower", 0))
    named = [each.named_seconds for each in everything if each.named_seconds is not None]
    if named:
        limits = ", ".join(f"{seconds} s" for seconds in HANG_TIMEOUT_SECONDS.values())
        baseline = f"--hang_timeout_seconds: {limits}"
        name = "hang to its name, longest, beyond the limit"
        rows.append(Row(name, max(named), "s", "lower", NAMED_WITHIN_SECONDS, None, baseline))
    rows += _restart_rows(everything)
    if others:
        rows += _noise_rows(found, [undisturbed, *others])
    return rows


def _restart_rows(found: Sequence[Found]) -> list[Row]:
    pairs = [
        (each.restart_seconds, each.setup_seconds)
        for each in found
        if each.restart_seconds is not None and each.setup_seconds is not None
    ]
    if not pairs:
        return []
    name = f"kill to the next trained step, {len(pairs)} kills"
    again, setup = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(after / before for after, before in pairs)
    first = "program to the end of its first step, without imports"
    return [
        Row(name, again, "s", "lower"),
        Row(first, setup, "s", "lower"),
        Row(name, ratio, "x", "lower", SETUP_FACTOR, None, "that set-up"),
    ]


def _noise_rows(found: dict[str, list[Found]], runs: Sequence[Undisturbed]) -> list[Row]:
    losses = [run.loss for run in runs]
    mean, deviation = statistics.mean(losses), statistics.stdev(losses)
    rows = [
        Row("test loss, undisturbed", mean, "", "lower"),
        Row(
            "its run-to-run standard deviation",
            deviation,
            "",
            "lower",
            baseline=f"{len(runs)} runs",
        ),
    ]
    for group, several in found.items():
        values = [each.loss for each in several if each.loss is not None]
        if "workers after" in group and values:
            name = group.partition(":")[0]
            far = max(abs(value - mean) for value in values) / deviation
            baseline = "undisturbed runs, other seeds of dropout"
            rows += [
                Row(f"{name}: test loss", statistics.median(values), "", "lower"),
                Row(
                    f"{name}: test loss off by",
                    far,
                    "deviations",
                    "lower",
                    DEVIATIONS,
                    None,
                    baseline,
                ),
            ]
    return rows


def main() -> None:
    flags = parse_flags(__doc__ or "")
    quick = flags.quick
    folder = Path(tempfile.mkdtemp(prefix="tfdml-benchmark-"))
    runs = Runs(folder, EPOCHS)
    try:
        undisturbed = runs.undisturbed()
        others = [] if quick else [runs.undisturbed(seed) for seed in NOISE_SEEDS]
        scenarios = list(planned(quick, undisturbed, others))
        print(f"{len(scenarios)} scenarios", flush=True)
        runs.run(scenarios, undisturbed)
    except Exception:
        print(f"what there is, is kept in {folder}", flush=True)
        raise
    if not runs.has_failed:
        shutil.rmtree(folder)
    rows = rows_of(runs.found, undisturbed, others)
    report(f"{len(scenarios)} scenarios, {undisturbed.steps} steps each", rows, flags.json)
    if runs.has_failed:
        print(f"what failed is kept in {folder}")
        raise SystemExit(1)


def planned(
    quick: bool, undisturbed: Undisturbed, others: Sequence[Undisturbed]
) -> Iterable[Scenario]:
    seconds = 0.9 * min(run.program_seconds for run in (undisturbed, *others))
    if quick:
        yield from kills("chief", 1, undisturbed, 1, seconds)
        yield from list(kills("worker", 1, undisturbed, 2, seconds))[1:4]
        yield from hangs("deadlock", 1, undisturbed, seed=3)
        yield from preemptions(1, undisturbed, seed=4)
        return
    yield from kills("chief", 4, undisturbed, 1, seconds)
    yield from kills("worker", 4, undisturbed, 2, seconds)
    yield from launcher_kills(3, undisturbed, seed=5)
    yield from hangs("stop", 3, undisturbed, seed=6)
    yield from hangs("deadlock", 3, undisturbed, seed=3)
    yield from preemptions(4, undisturbed, seed=4)
    yield from resizes(RESIZED, undisturbed)


if __name__ == "__main__":
    main()
