"""How long four local workers take from their start to the end of their first training step.

    python benchmarks/launch_time.py [--quick] [--json=FILE]

Three ways, taken in turn within each run: `spawn` (every worker imports TensorFlow), `fork` (a cold
launcher: one import, then forks) and `restart` (forks of the process that the run before has
warmed).
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tfdml.launch import plan
from tfdml.launch.guard import Guard
from tfdml.launch.job import Job
from tfdml.launch.output import Console
from tfdml.launch.start import ForkStarter, SpawnStarter, Starter

WORKERS = 4
MARKER = "first step at "
SCRIPT = f"""
import time

import keras
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = keras.Sequential(
        [keras.Input((16,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
    )
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)


@tf.function
def train_step(x, y):
    def replica_step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    return strategy.reduce("sum", strategy.run(replica_step), axis=None)


float(train_step(tf.ones((8, 16)), tf.ones((8, 1))))
print("{MARKER}", time.monotonic(), flush=True)
"""
# A cold fork must be well under a spawn, a restart from the warm process far under.
RATIOS = {"fork": (0.6, 0.45), "restart": (0.3, None)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run instead of five")
    parser.add_argument("--json", metavar="FILE", help="also write the rows here")
    flags = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "first_step.py"
        script.write_text(SCRIPT)
        runs = [measure(str(script)) for _ in range(1 if flags.quick else 5)]
    rows = rows_of(runs)
    print_table(rows)
    if flags.json:
        Path(flags.json).write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def measure(script: str) -> dict[str, float]:
    """Seconds of each way, in one run."""
    fork = ForkStarter()
    seconds = {
        "spawn": seconds_to_first_step(SpawnStarter(), script),
        "fork": seconds_to_first_step(fork, script),
        "restart": seconds_to_first_step(fork, script),
    }
    fork.close()
    return seconds


def seconds_to_first_step(starter: Starter, script: str) -> float:
    """Until the last worker is through its first step."""
    tasks = plan.plan_tasks(plan.on_this_host(WORKERS), script, [])
    shown = io.BytesIO()
    guard = Guard()
    begin = time.monotonic()
    job = Job(tasks, starter, guard, Console(shown, colour=False), grace_period_seconds=5)
    job.start()
    outcome = job.wait()
    guard.close()
    text = shown.getvalue().decode()
    if outcome.status != 0:
        raise RuntimeError(f"{outcome.failure}\n{text}")
    ends = [float(line.split(MARKER)[1]) for line in text.splitlines() if MARKER in line]
    assert len(ends) == WORKERS, text
    return max(ends) - begin


def rows_of(runs: list[dict[str, float]]) -> list[dict[str, object]]:
    """Medians over the runs; ratios are taken within each."""
    rows: list[dict[str, object]] = [
        row(f"{way}: {WORKERS} workers through their first step", runs, way, unit="s")
        for way in ("spawn", "fork", "restart")
    ]
    for way, (floor, target) in RATIOS.items():
        ratios = [{way: run[way] / run["spawn"]} for run in runs]
        rows.append(row(f"{way} over spawn", ratios, way, "ratio", floor, target, "spawn"))
    return rows


def row(
    name: str,
    runs: list[dict[str, float]],
    way: str,
    unit: str,
    floor: float | None = None,
    target: float | None = None,
    baseline: str | None = None,
) -> dict[str, object]:
    value = statistics.median(run[way] for run in runs)
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "better": "lower",
        "floor": floor,
        "target": target,
        "baseline": baseline,
    }


def print_table(rows: list[dict[str, object]]) -> None:
    width = max(len(str(row["name"])) for row in rows)
    print(f"{'':<{width}}  {'value':>8}  {'unit':<5}  {'floor':>6}  {'target':>6}")
    for row in rows:
        limits = [("" if row[key] is None else row[key]) for key in ("floor", "target")]
        print(
            f"{row['name']:<{width}}  {row['value']:>8}  {row['unit']:<5}  "
            f"{limits[0]:>6}  {limits[1]:>6}"
        )


if __name__ == "__main__":
    sys.exit(main())
