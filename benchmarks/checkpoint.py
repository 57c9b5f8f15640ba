"""What saving costs training, and how fast snapshots are written and read, beside a plain copy of the same bytes.

The sides take turns. A turn begins when nothing is being written any more.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from table import Row, parse_flags, report

from tfdml.checkpoint import Contents, Position, Snapshots, model_sections

LAYER = 2048  # a kernel of 16.8 MB, three times with Adam's slots


def make_model(megabytes: int) -> keras.Model:
    layers = max(1, round(megabytes * 1e6 / (3 * 4 * LAYER * (LAYER + 1))))
    model = keras.Sequential([keras.layers.Input((LAYER,))])
    for _ in range(layers):
        model.add(keras.layers.Dense(LAYER, "relu"))
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:  # fresh zeros may share one page of memory
        if variable.shape:
            variable.assign(np.random.default_rng(0).random(variable.shape, np.float32))
    return model


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def copy_to_disk(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


class Steps:
    """Training steps of a small batch, which change every variable, as an optimizer does."""

    def __init__(self, model: keras.Model):
        x, y = tf.random.normal([8, LAYER]), tf.zeros([8, LAYER])

        @tf.function
        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        self._step = step
        step()

    def run(self, count: int) -> None:
        for _ in range(count):
            self._step()


def measure(folder: Path, megabytes: int, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of each side, round by round; and the bytes of a snapshot."""
    model = make_model(megabytes)
    contents = Contents(arrays=model_sections(model))
    snapshots = Snapshots(folder / "snapshots", keep=1)
    snapshots.reserve(contents)
    steps = Steps(model)
    checkpoint = tf.train.Checkpoint(
        variables=[variable.value for variable in [*model.variables, *model.optimizer.variables]]
    )
    later = tf.train.CheckpointOptions(enable_async=True)
    copy, number = folder / "copy", 0
    seconds: dict[str, list[float]] = defaultdict(list)

    def position() -> Position:
        nonlocal number
        number += 1
        return Position(0, number, number)

    def save() -> None:
        outcome = snapshots.save(position(), contents)
        assert outcome.saved, outcome.error

    def restore() -> None:
        restored = snapshots.restore()
        assert restored is not None
        restored.load_model(model)

    save()
    (part,) = (folder / "snapshots").glob("snapshot-*/task-00000.bin")
    size = part.stat().st_size
    shutil.copyfile(part, folder / "source")
    # A virtual machine gets pages that nobody used lately from its host one by one.
    warm = [timed(lambda: steps.run(1)) for _ in range(5)]
    several = max(4, round(2.5 * max(1.0, size / 5e8) / statistics.median(warm)))
    sides: dict[str, Callable[[], Any]] = {
        "copy": lambda: copy_to_disk(folder / "source", copy),
        "save": save,
        "restore": restore,
        "read": lambda: (folder / "source").read_bytes(),
        "TensorFlow": lambda: checkpoint.write(folder / "tf" / "blocking"),
        "TensorFlow pause": lambda: checkpoint.write(folder / "tf" / "later", later),
    }

    def settle() -> None:
        """Nothing is being written or removed any more."""
        checkpoint.sync()
        while any(thread.name == "tfdml-snapshot" for thread in threading.enumerate()):
            time.sleep(0.001)
        copy.unlink(missing_ok=True)
        os.sync()

    for turn in range(rounds + 1):
        found = {}
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            settle()
            found[name] = timed(sides[name])
        settle()
        found["steps"] = timed(lambda: steps.run(several))
        begin = time.perf_counter()
        snapshots.begin(position(), contents)
        found["pause"] = time.perf_counter() - begin
        steps.run(several)
        found["steps and save"] = time.perf_counter() - begin
        outcome = snapshots.wait()
        assert outcome is not None and outcome.saved
        if turn:  # the first is for warming up
            for name, value in found.items():
                seconds[name].append(value)
    snapshots.close()
    return seconds, size


def main() -> None:
    flags = parse_flags(__doc__ or "")
    megabytes, rounds = (120, 3) if flags.quick else (500, 9)
    with tempfile.TemporaryDirectory(prefix="tfdml-benchmark-") as folder:
        seconds, size = measure(Path(folder), megabytes, rounds)

    def median(name: str) -> float:
        return statistics.median(seconds[name])

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))

    lost = [
        (both - alone) / save
        for both, alone, save in zip(
            seconds["steps and save"], seconds["steps"], seconds["save"], strict=True
        )
    ]
    megabyte = size / 1e6
    rows = [
        Row("blocking save", 1e3 * median("save"), "ms", "lower"),
        Row("asynchronous save: pause", 1e3 * median("pause"), "ms", "lower"),
        Row(
            "asynchronous save: pause",
            100 * ratio("pause", "save"),
            "%",
            "lower",
            10,
            3,
            "a blocking save",
        ),
        Row(
            "training time lost to it in all",
            100 * statistics.median(lost),
            "%",
            "lower",
            baseline="a blocking save",
        ),
        Row("save", megabyte / median("save"), "MB/s"),
        Row("save", ratio("copy", "save"), "x", baseline="file copy and fsync"),
        Row("restore into the model", megabyte / median("restore"), "MB/s"),
        Row(
            "restore into the model", ratio("copy", "restore"), "x", baseline="file copy and fsync"
        ),
        Row("restore into the model", ratio("read", "restore"), "x", baseline="reading the file"),
        Row("save", ratio("TensorFlow", "save"), "x", baseline="tf.train.Checkpoint.write"),
        Row(
            "asynchronous save: pause",
            ratio("TensorFlow pause", "pause"),
            "x",
            baseline="tf.train.Checkpoint, enable_async",
        ),
    ]
    report(f"Snapshots of {megabyte:,.0f} MB, {rounds} rounds", rows, flags.json)


if __name__ == "__main__":
    main()
