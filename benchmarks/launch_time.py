"""How long four local workers take from their start to the end of their first training step.

    python benchmarks/launch_time.py [--quick] [--json=FILE]

Three ways, taken in turn within each run: `spawn` (every worker imports TensorFlow), `fork` (a cold
launcher: one import, then forks) and `restart` (forks of the process that the run before has
warmed).
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

from table import Row, parse_flags, report

from tfdml.launch import plan
from tfdml.launch.guard import Guard
from tfdml.launch.heartbeats import Heartbeats
from tfdml.launch.job import Job
from tfdml.launch.output import Console
from tfdml.launch.replacements import Replacements
from tfdml.launch.settings import Settings
from tfdml.launch.start import ForkStarter, SpawnStarter, Starter

WORKERS = 4
MARKER = "first step at "
SCRIPT = f"""
import time

import keras
import tensorflow as tf
import tfdml

strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
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


def main() -> None:
    flags = parse_flags(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "first_step.py"
        script.write_text(SCRIPT)
        runs = [measure(str(script)) for _ in range(1 if flags.quick else 5)]

    def median(way: str) -> float:
        return statistics.median(run[way] for run in runs)

    def over_spawn(way: str) -> float:
        return statistics.median(run[way] / run["spawn"] for run in runs)

    step = f"{WORKERS} workers through their first step"
    rows = [Row(f"{way}: {step}", median(way), "s", "lower") for way in runs[0]]
    rows.append(Row("fork / spawn", over_spawn("fork"), "", "lower", 0.6, 0.45, "spawn"))
    rows.append(Row("restart / spawn", over_spawn("restart"), "", "lower", 0.3, None, "spawn"))
    report("Launch time", rows, flags.json)


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
    job = Job(
        tasks,
        starter,
        guard,
        Console(shown, colour=False),
        Heartbeats({}, 0),
        Replacements(tasks, Settings()),
        say=print,
        grace_period_seconds=5,
    )
    job.start()
    outcome = job.wait()
    guard.close()
    text = shown.getvalue().decode()
    if outcome.status != 0:
        raise RuntimeError(f"{outcome.failure}\n{text}")
    ends = [float(line.split(MARKER)[1]) for line in text.splitlines() if MARKER in line]
    assert len(ends) == WORKERS, text
    return max(ends) - begin


if __name__ == "__main__":
    main()
