"""What compression costs in quality: accuracy on digits, bits per byte of a small language model.

    python benchmarks/quality.py [--quick] [--compressions=int8,topk] [--tasks=digits,language] [--json=FILE]

Every compression, with its defaults, against dense training from the same seeds, on 2 replicas of one process:
the exchange is the one that workers use.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
from quality_tasks import TASKS, Task
from scipy import stats
from table import Row, report

import tfdml
from tfdml.collectives import COMPRESSION_NAMES
from tfdml.optimizers import DistributedOptimizer

# What a compression may lose: points of accuracy, and percent of bits per byte.
BOUNDS = {"digits": 1.0, "language": 2.0}
WIDER = ("terngrad", "signsgd")  # They may lose twice as much.


def main() -> None:
    flags = parse()
    strategy = tfdml.strategies.create("mirrored", num_virtual_devices=2)
    rows: list[Row] = []
    for name in flags.tasks:
        task = TASKS[name](flags.quick)
        dense = scores(task, strategy, "none")
        print(f"{name}, dense: mean {statistics.mean(dense):.4f} of {len(dense)} runs", flush=True)
        rows += [
            row_of(task, compression, dense, scores(task, strategy, compression))
            for compression in flags.compressions
        ]
    report("Quality: what compression loses against dense", rows, flags.json)


def scores(task: Task, strategy: Any, compression: str) -> list[float]:
    """The score of every seed."""
    options: Any = compression
    momentum, clipnorm = 0.9, task.clipnorm
    if compression == "dgc":  # It has the same momentum inside, and clips before it.
        options = {"name": "dgc", "clipnorm": task.clipnorm}
        momentum, clipnorm = 0.0, None
    values = []
    for seed in task.seeds:
        keras.utils.set_random_seed(seed)
        with strategy.scope():
            model = task.make_model()
            optimizer = task.make_optimizer(momentum, clipnorm)
            task.compile(model, DistributedOptimizer(optimizer, compression=options))
        values.append(task.score(tfdml.Trainer(model, strategy), seed))
    return values


def row_of(task: Task, compression: str, dense: list[float], values: list[float]) -> Row:
    """The mean loss over the pairs, and its 95% interval (Student's t)."""
    losses = [task.loss(value, base) for value, base in zip(values, dense, strict=True)]
    mean = statistics.mean(losses)
    low, high = mean, mean
    if len(losses) > 1 and statistics.stdev(losses) > 0:
        low, high = stats.t.interval(
            0.95, len(losses) - 1, loc=mean, scale=statistics.stdev(losses) / len(losses) ** 0.5
        )
    print(
        f"{task.name}, {compression}: mean {statistics.mean(values):.4f}, loses {mean:.2f} {task.unit} "
        f"(95%: {low:.2f} to {high:.2f})",
        flush=True,
    )
    bound = BOUNDS[task.name] * (2 if compression in WIDER else 1)
    return Row(f"{task.name}: {compression} loses", mean, task.unit, "lower", bound, None, "dense")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, fewer steps")
    parser.add_argument("--json", help="write the rows to this file")
    for option, every in (("compressions", COMPRESSION_NAMES[1:]), ("tasks", tuple(TASKS))):
        parser.add_argument(
            f"--{option}", default=",".join(every), help=f"of {', '.join(every)}; default all"
        )
    flags = parser.parse_args()
    for option, every in (("compressions", COMPRESSION_NAMES[1:]), ("tasks", tuple(TASKS))):
        chosen = getattr(flags, option).split(",")
        unknown = [name for name in chosen if name not in every]
        if unknown:
            parser.error(f"--{option} must be of {', '.join(every)}, got '{unknown[0]}'")
        setattr(flags, option, chosen)
    return flags


if __name__ == "__main__":
    main()
