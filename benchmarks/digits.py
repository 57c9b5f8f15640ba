"""ResNet-18 on the handwritten digits: against nearest neighbours, in mixed_bfloat16, and on two workers.

    python benchmarks/digits.py [--quick] [--seeds=3] [--parts=float32,mixed_bfloat16,two_workers] [--dir=DIR]
        [--json=FILE]

Every run is the recipe with configs/image_classifier/resnet18_digits.yaml, as a user starts it, on one core for each
process; the neighbours look at the same images. What has finished in DIR is not run again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from scipy import stats
from table import Row, report

from tfdml.data.images.digits import prepare_digits
from tfdml.errors import DataError, TrainingError, exit_on_user_error
from tfdml.runs.record import RunRecord

REPOSITORY = Path(__file__).parents[1]
RECIPE = REPOSITORY / "recipes" / "train_image_classifier.py"
CONFIGS = REPOSITORY / "configs" / "image_classifier"
CORRUPTIONS = ("noise", "blur", "brightness")
PARTS = {
    "float32": [],
    "mixed_bfloat16": ["--set=train.precision=mixed_bfloat16"],
    "two_workers": [f"--config={CONFIGS / 'multi_worker.yaml'}"],
}
# Points of accuracy that may be lost; one of the 355 test images is 0.28.
BOUND = 0.5
LIMIT_SECONDS = 900
QUICK_EPOCHS = 3


@dataclass(frozen=True)
class Training:
    """One run of the recipe."""

    part: str
    seed: int
    directory: Path
    words: tuple[str, ...]

    @property
    def model_dir(self) -> Path:
        return self.directory / f"{self.part}-{self.seed}"

    def finished(self) -> RunRecord | None:
        try:
            record = RunRecord.read(self.model_dir)
        except DataError:
            return None
        return record if record.status == "finished" else None

    def __call__(self) -> RunRecord:
        """The record of the run, which is made now unless it has been."""
        if (record := self.finished()) is None:
            shutil.rmtree(self.model_dir, ignore_errors=True)  # else it would go on from its backup
            self._run()
            record = RunRecord.read(self.model_dir)
        result, seconds = record.result["accuracy"], record.seconds
        # Of several threads: with its newline in one piece.
        sys.stdout.write(f"{self.part}, seed {self.seed}: {result:.4f} after {seconds:.0f} s\n")
        sys.stdout.flush()
        return record

    def _run(self) -> None:
        launcher = [sys.executable]
        if self.part == "two_workers":
            launcher += ["-m", "tfdml.cli.main", "launch", "--workers=2"]
        command = [
            *launcher,
            str(RECIPE),
            f"--config={CONFIGS / 'resnet18_digits.yaml'}",
            *PARTS[self.part],
            f"--set=data.data_dir={self.directory / 'data'}",
            f"--set=evaluation.corruptions=[{', '.join(CORRUPTIONS)}]",
            *self.words,
            f"--seed={self.seed}",
            f"--model_dir={self.model_dir}",
        ]
        one_core = {"TF_NUM_INTRAOP_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
        done = subprocess.run(
            command,
            env={**os.environ, **one_core, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        if done.returncode:
            raise TrainingError(f"{self.model_dir.name} failed: {done.stderr[-2000:]}")


def main() -> None:
    flags = parse()
    with exit_on_user_error(), tempfile.TemporaryDirectory() as temporary:
        directory = Path(flags.dir or temporary).resolve()
        prepare_digits(directory / "data")
        words = (f"--set=train.epochs={QUICK_EPOCHS}",) if flags.quick else ()
        runs = {
            part: [Training(part, seed, directory, words) for seed in range(flags.seeds)]
            for part in flags.parts
        }
        records: dict[str, list[RunRecord]] = {}
        for part, trainings in runs.items():
            processes = 2 if part == "two_workers" else 1
            at_once = max(1, len(os.sched_getaffinity(0)) // processes)
            with ThreadPoolExecutor(at_once) as pool:
                records[part] = list(pool.map(Training.__call__, trainings))
        neighbours = accuracy_of_neighbours(directory / "data")
    rows = list(rows_of(records, neighbours))
    report(f"Digits: ResNet-18, {flags.seeds} seed(s), each process on one core", rows, flags.json)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, float32, a few epochs")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--seeds", type=int, help="runs of each part")
    parser.add_argument("--parts", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--dir", help="where runs are kept; default nowhere")
    flags = parser.parse_args()
    flags.seeds = flags.seeds or (1 if flags.quick else 3)
    flags.parts = (flags.parts or ("float32" if flags.quick else ",".join(PARTS))).split(",")
    unknown = [part for part in flags.parts if part not in PARTS]
    if unknown:
        parser.error(f"--parts must be of {', '.join(PARTS)}, got '{unknown[0]}'")
    return flags


def accuracy_of_neighbours(data_dir: Path) -> dict[str, float]:
    """What the images are ("clean", or a corruption, the mean of its severities) -> accuracy."""
    sys.path.append(str(RECIPE.parent))
    import image_corruptions
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier

    import tfdml

    images = tfdml.data.open_images("digits", data_dir=data_dir)
    train_x, train_y = arrays(images.training(64, seed=0, shuffle="none"))
    classifier = KNeighborsClassifier(3).fit(train_x.reshape(len(train_x), -1), train_y)

    def score(corruption: str | None, severity: int = 0) -> float:
        change = lambda image, seed: image_corruptions.corrupt(image, seed, corruption, severity)
        x, y = arrays(images.evaluation(64, augment=change if corruption else None))
        return classifier.score(x.reshape(len(x), -1), y)

    scores = {"clean": score(None)}
    for corruption in CORRUPTIONS:
        each = [score(corruption, severity) for severity in image_corruptions.SEVERITIES]
        scores[corruption] = float(np.mean(each))
    return scores


def arrays(source: Any) -> Any:
    """All images and labels of one epoch, as NumPy arrays."""
    import numpy as np

    from tfdml.checkpoint import Position
    from tfdml.data.order import Slice

    batches = source.dataset(Position(0, 0, 0), Slice()).take(source.steps_per_epoch)
    return tuple(np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator(), strict=True))


def rows_of(records: dict[str, list[RunRecord]], neighbours: dict[str, float]) -> Iterator[Row]:
    wrong = {
        part: [percent_wrong(each.result["accuracy"]) for each in of_part]
        for part, of_part in records.items()
    }
    clean = percent_wrong(neighbours["clean"])
    yield Row("3 nearest neighbours: wrong", clean, "%", "lower")
    for part, of_part in records.items():
        values = wrong[part]
        bound = clean if part == "float32" else None
        name = f"{part}: wrong, mean of {len(values)}"
        yield Row(name, statistics.mean(values), "%", "lower", bound, None, spread(values))
        if part != "float32" and "float32" in wrong:
            lost = [value - other for value, other in zip(values, wrong["float32"], strict=True)]
            name, than = f"{part}: loses", f"float32 ({interval(lost)})"
            yield Row(name, statistics.mean(lost), "points", "lower", BOUND, None, than)
        for corruption in CORRUPTIONS:
            found = [each.slices["corruption"][corruption]["accuracy"] for each in of_part]
            value = percent_wrong(statistics.mean(found))
            other = f"neighbours: {percent_wrong(neighbours[corruption]):.1f}"
            yield Row(f"{part}: wrong with {corruption}", value, "%", "lower", baseline=other)
        seconds = statistics.median(each.seconds for each in of_part)
        yield Row(f"{part}: one run", seconds, "s", "lower")


def percent_wrong(accuracy: float) -> float:
    return round(100 * (1 - accuracy), 2)


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def interval(values: list[float]) -> str:
    """The 95% interval of the mean (Student's t)."""
    if len(values) < 2 or not statistics.stdev(values):
        return "no spread"
    error = statistics.stdev(values) / len(values) ** 0.5
    low, high = stats.t.interval(0.95, len(values) - 1, statistics.mean(values), error)
    return f"95%: {low:.2f} to {high:.2f}"


if __name__ == "__main__":
    main()
