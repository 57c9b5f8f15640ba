"""What one TensorFlow worker of `scaling.py` does: the Trainer, or the hand-written loop."""

from __future__ import annotations

import os
import time

import keras
import numpy as np
import tensorflow as tf
from peers.multi_worker_loop import MultiWorkerLoop

import tfdml


def measure(
    side: str, core: int, *, steps: int, segments: int, per_worker: int, at_once: int
) -> list[float]:
    """Samples/s of all workers together, one figure a segment of `steps` steps.

    Args:
        side: "hand-written" (a `MultiWorkerMirroredStrategy` with its default options), "Trainer", or
            "Trainer, int8" (the strategy and whatever else of the process tfdml sets up).
        at_once: steps of one call of a compiled function.
    """
    os.sched_setaffinity(0, {core})  # before TensorFlow starts its threads, which inherit it
    if side == "hand-written":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    global_batch_size = per_worker * strategy.num_replicas_in_sync
    data = make_data(global_batch_size)
    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.01)
        if side == "Trainer, int8":
            optimizer = tfdml.optimizers.DistributedOptimizer(optimizer, compression="int8")
        model = build_model(optimizer, at_once)
    if side == "hand-written":
        loop = MultiWorkerLoop(strategy, model, data, at_once)
        seconds = [loop.seconds(steps) for _ in range(segments + 1)]
    else:
        watch = Watch()
        tfdml.Trainer(model, strategy).fit(
            data, epochs=segments + 1, steps_per_epoch=steps, callbacks=[watch], verbose=False
        )
        seconds = watch.seconds
    # The first segment traces and fills caches.
    return [steps * global_batch_size / taken for taken in seconds[1:]]


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


class Watch(keras.callbacks.Callback):
    """Times every epoch, in seconds."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._begin)
