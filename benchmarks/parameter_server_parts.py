"""What the coordinator of `parameter_server.py` measures: one function for each part, in a job of its own.

Each takes the tasks of the job and whether to be quick, and returns what JSON can hold. All sides of a part are
models of one job, which take turns of an epoch each, so that nothing is started twice and all meet the same load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from limited_link import DEVICE
from parameter_server_sides import (
    TrainerSide,
    compressed,
    dense_data,
    dense_model,
    table_data,
    table_model,
    take_turns,
)
from peers.coordinator_loop import HandWrittenLoop

from tfdml.optimizers.async_rules import rule_for

# Process numbers by task: "worker 0", "ps 1", ...
Tasks = Mapping[str, int]

# name of a side -> (codec of the push, dtype of the pull)
PUSHES: dict[str, tuple[str | None, str | None]] = {
    "dense": (None, None),
    "push int8": ("int8", None),
    "push topk 1%": ("topk", None),
    "pull bf16": (None, "bfloat16"),
    "pull bf16, push int8": ("int8", "bfloat16"),
    "pull bf16, push topk 1%": ("topk", "bfloat16"),
}
# 1,039,510 weights. Matrices of one size, which ps can share: one large one would load the link of its ps alone.
LINK_WIDTHS = [500] * 5
LINK_ROWS, LINK_AT_ONCE = 32, 4

LOOP_WIDTHS, LOOP_ROWS = [256, 256], 128
OPTIMIZERS = {"SGD": lambda: keras.optimizers.SGD(0.01), "Adam": lambda: keras.optimizers.Adam()}

TABLE_ROWS, TABLE_WIDTH = 8_000_000, 64  # 2.05 GB
SPARSE_SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
SPARSE_WIDTH, SPARSE_IDS = 8, 4096


def loop(strategy: tf.distribute.Strategy, tasks: Tasks, quick: bool) -> dict[str, Any]:
    """Seconds of an epoch, [optimizer][steps a closure][side], of the Trainer and of a loop written by hand."""
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    data = dense_data(LOOP_ROWS)
    steps, rounds = (96, 3) if quick else (240, 7)
    result: dict[str, Any] = {"steps": steps, "seconds": {}}
    for name in ("Adam",) if quick else OPTIMIZERS:
        for at_once in (1, 8):
            models = []
            for _ in range(2):
                with strategy.scope():
                    models.append(dense_model(LOOP_WIDTHS, OPTIMIZERS[name](), at_once))
            trainer = TrainerSide(strategy, models[0], data, steps)
            by_hand = HandWrittenLoop(strategy, coordinator, models[1], lambda: data(None), at_once)
            sides = {
                "Trainer": trainer.seconds,
                "by hand": lambda loop=by_hand: loop.seconds(steps),
            }
            result["seconds"][f"{name}, {at_once} a closure"] = take_turns(sides, rounds)
    return result


def link(strategy: tf.distribute.Strategy, tasks: Tasks, quick: bool) -> dict[str, Any]:
    """Seconds and bytes of an epoch, [side], and the bytes of a step that the optimizer tells."""
    steps, rounds = (16, 2) if quick else (24, 7)
    data = dense_data(LINK_ROWS)
    result: dict[str, Any] = {"steps": steps, "told": {}, "turns": {}, "weights": 0}
    sides = {}
    for name, (codec, pull) in PUSHES.items():
        with strategy.scope():
            optimizer = compressed(keras.optimizers.SGD(0.01), codec)
            model = dense_model(LINK_WIDTHS, optimizer, LINK_AT_ONCE)
        side = TrainerSide(strategy, model, data, steps, pull_dtype=pull)
        result["told"][name] = optimizer.asynchronous.push.wire_bytes(model.trainable_variables)
        result["weights"] = model.count_params()
        sides[name] = _with_bytes(side.seconds, tasks)
    result["turns"] = take_turns(sides, rounds)
    return result


def _with_bytes(seconds: Callable[[], float], tasks: Tasks) -> Callable[[], dict[str, float]]:
    workers = [number for task, number in tasks.items() if task.startswith("worker")]

    def measure() -> dict[str, float]:
        before = [device_bytes(number) for number in workers]
        taken = seconds()
        after = [device_bytes(number) for number in workers]
        received, sent = (
            sum(b[way] - a[way] for a, b in zip(before, after, strict=True)) for way in (0, 1)
        )
        return {"seconds": taken, "sent": sent, "received": received}

    return measure


def table(strategy: tf.distribute.Strategy, tasks: Tasks, quick: bool) -> dict[str, Any]:
    """A table that only the parameter servers can hold: losses, seconds, and the most memory of each task."""
    rows = TABLE_ROWS // 100 if quick else TABLE_ROWS
    steps, epochs = (32, 2) if quick else (256, 6)
    before = {task: peak_bytes(number) for task, number in tasks.items()}
    with strategy.scope():
        model = table_model(rows, TABLE_WIDTH, keras.optimizers.SGD(5.0), at_once=8)
    side = TrainerSide(strategy, model, table_data(rows, 256, 4), steps)
    seconds = [side.seconds() for _ in range(epochs)]
    assert all(np.isfinite(side.losses)), side.losses
    return {
        "table_bytes": 4 * rows * TABLE_WIDTH,
        "shards": len(model.layers[1].shards),
        "steps": steps,
        "seconds": seconds[1:],
        "losses": side.losses,
        "before": before,
        "peak": {task: peak_bytes(number) for task, number in tasks.items()},
    }


def sparse(strategy: tf.distribute.Strategy, tasks: Tasks, quick: bool) -> dict[str, Any]:
    """Seconds of an epoch of steps, and of bare updates, [size of the table]."""
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    sizes = SPARSE_SIZES[:2] if quick else SPARSE_SIZES
    steps, rounds = (32, 2) if quick else (128, 7)
    training, updates = {}, {}
    for size in sizes:
        with strategy.scope():
            optimizer = keras.optimizers.Adagrad(0.1)
            model = table_model(size, SPARSE_WIDTH, optimizer, at_once=8, num_shards=2)
        data = distinct_ids(size)
        training[str(size)] = TrainerSide(strategy, model, data, steps).seconds
        updates[str(size)] = BareUpdates(strategy, coordinator, size, steps).seconds
    return {
        "steps": steps,
        "ids": SPARSE_IDS,
        "training": take_turns(training, rounds),
        "updates": take_turns(updates, rounds),
    }


def distinct_ids(table_rows: int) -> Callable[[Any], tf.data.Dataset]:
    """Endless batches of SPARSE_IDS ids from all of the table, each of them once, whatever the table's size."""

    def make(context: Any) -> tf.data.Dataset:
        generator = np.random.default_rng(0)
        ids = np.stack([draw_distinct(generator, table_rows) for _ in range(32)])
        data = tf.data.Dataset.from_tensor_slices((ids[..., None], ids % 10))
        return data.cache().repeat().prefetch(2)

    return make


def draw_distinct(generator: np.random.Generator, table_rows: int) -> np.ndarray:
    """int64 [SPARSE_IDS], one from each of as many stretches of the table, shuffled."""
    stretch = table_rows // SPARSE_IDS
    ids = stretch * np.arange(SPARSE_IDS) + generator.integers(0, stretch, size=SPARSE_IDS)
    return generator.permutation(ids)


class BareUpdates:
    """What the rule of Adagrad alone costs: updates of SPARSE_IDS rows by a gradient that is there already."""

    def __init__(self, strategy: tf.distribute.Strategy, coordinator: Any, size: int, steps: int):
        with strategy.scope():
            optimizer = keras.optimizers.Adagrad(0.1)
            variable = keras.Variable(
                keras.initializers.Zeros(), (size, SPARSE_WIDTH), dtype="float32"
            )
            optimizer.build([variable])
        rule = rule_for(optimizer)
        generator = np.random.default_rng(0)
        ids = tf.constant(np.stack([draw_distinct(generator, size) for _ in range(32)]))

        @tf.function
        def closure(count):
            gradient = tf.ones([SPARSE_IDS, SPARSE_WIDTH])
            for number in tf.range(count):
                slices = tf.IndexedSlices(gradient, ids[number % 32])
                step = tf.cast(number, tf.int64)
                rule.apply(slices, variable, step=step, learning_rate=tf.constant(0.1))

        self._run = lambda: coordinator.schedule(closure, args=(tf.constant(steps),))
        self._coordinator = coordinator

    def seconds(self) -> float:
        """How long `steps` updates by one worker take."""
        begin = time.perf_counter()
        self._run()
        self._coordinator.join()
        return time.perf_counter() - begin


# -- what Linux tells of a task


def peak_bytes(process_number: int) -> int:
    """The most memory that was resident of a process since it began."""
    for line in Path(f"/proc/{process_number}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return 1024 * int(value.split()[0])
    raise RuntimeError(f"process {process_number} has no VmHWM")


def device_bytes(process_number: int) -> tuple[int, int]:
    """Received and sent through the link of the namespace that a process is in."""
    for line in Path(f"/proc/{process_number}/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == DEVICE:
            fields = counters.split()
            return int(fields[0]), int(fields[8])
    raise RuntimeError(f"process {process_number} has no device {DEVICE}")
