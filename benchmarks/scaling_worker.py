"""What one TensorFlow worker of `scaling.py` does: the Trainer and the hand-written loop, in turn."""

from __future__ import annotations

import os
import time

import keras
import numpy as np
import tensorflow as tf
from peers.multi_worker_loop import MultiWorkerLoop

import tfdml


def measure(
    core: int, *, steps: int, segments: int, per_worker: int, at_once: int
) -> dict[str, list[float]]:
    """Samples/s of all workers together, one figure a segment of `steps` steps.

    Every call of a compiled function makes `at_once` steps.

    Every side trains a model of its own under one strategy, because a process can hold only one. Between
    two segments of the Trainer the hand-written loop has one.

    Returns:
        Of "Trainer" and "hand-written", which take turns; with several workers then also of
        "Trainer, int8" and "hand-written beside int8".
    """
    os.sched_setaffinity(0, {core})  # before TensorFlow starts its threads, which inherit it
    # Not tfdml's own, so that the hand-written loop has upstream's defaults; on CPUs both are the gRPC ring.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    global_batch_size = per_worker * strategy.num_replicas_in_sync
    data = make_data(global_batch_size)
    with strategy.scope():
        model = build_model(keras.optimizers.SGD(0.01), at_once)
    hand_written = MultiWorkerLoop(strategy, model, data, at_once)
    rates = {}

    def alternate(name: str, beside: str, optimizer: keras.optimizers.Optimizer) -> None:
        with strategy.scope():
            model = build_model(optimizer, at_once)
        turns = Alternate(hand_written, steps)
        tfdml.Trainer(model, strategy).fit(
            data, epochs=segments + 1, steps_per_epoch=steps, callbacks=[turns], verbose=False
        )
        samples = steps * global_batch_size
        # The first segments trace and fill caches.
        rates[name] = [samples / seconds for seconds in turns.own[1:]]
        rates[beside] = [samples / seconds for seconds in turns.other[1:]]

    with strategy.scope():
        plain = keras.optimizers.SGD(0.01)
    alternate("Trainer", "hand-written", plain)
    if strategy.num_replicas_in_sync > 1:
        with strategy.scope():
            int8 = tfdml.optimizers.DistributedOptimizer(
                keras.optimizers.SGD(0.01), compression="int8"
            )
        alternate("Trainer, int8", "hand-written beside int8", int8)
    return rates


def make_data(global_batch_size: int) -> tf.data.Dataset:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64 * global_batch_size, 784)).astype("float32")
    y = generator.integers(0, 10, size=64 * global_batch_size)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(global_batch_size, drop_remainder=True)
    return data.cache().repeat()


def build_model(optimizer: keras.optimizers.Optimizer, at_once: int) -> keras.Model:
    hidden = lambda: keras.layers.Dense(512, activation="relu")
    model = keras.Sequential([keras.Input((784,)), hidden(), hidden(), keras.layers.Dense(10)])
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=at_once,
    )
    return model


class Alternate(keras.callbacks.Callback):
    """Times every epoch of the Trainer, and as many hand-written steps after it, in seconds."""

    def __init__(self, hand_written: MultiWorkerLoop, steps: int):
        super().__init__()
        self._hand_written, self._steps = hand_written, steps
        self.own: list[float] = []
        self.other: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.own.append(time.perf_counter() - self._begin)
        self.other.append(self._hand_written.seconds(self._steps))
