"""Steps/s of Trainer over a hand-written `tf.function` loop and over single-device `model.fit`.

The model is the 784-512-512-10 MLP with SGD and 128 examples a step, on one core. Between two epochs of the
Trainer (or of `model.fit`) the hand-written loop runs the same number of steps, so that both sides of a ratio
are measured within a second of each other.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import keras
import numpy as np
import tensorflow as tf
from table import Row, parse_flags, report

import tfdml

BATCH = 128


def make_data() -> tf.data.Dataset:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64 * BATCH, 784)).astype("float32")
    y = generator.integers(0, 10, size=64 * BATCH)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH, drop_remainder=True)
    return data.cache().repeat().prefetch(4)


def build_model(steps_per_execution: int) -> keras.Model:
    relu = lambda: keras.layers.Dense(512, activation="relu")
    model = keras.Sequential([keras.layers.Input((784,)), relu(), relu(), keras.layers.Dense(10)])
    model.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


class HandWritten:
    """The loop that people write themselves: loss and accuracy as Keras metrics, `at_once` steps a call."""

    def __init__(self, at_once: int):
        model = build_model(1)
        optimizer, loss_function = model.optimizer, model.loss
        loss_metric = keras.metrics.Mean()
        accuracy = keras.metrics.SparseCategoricalAccuracy()
        optimizer.build(model.trainable_variables)

        def step(x: tf.Tensor, y: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                loss = loss_function(y, logits)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            loss_metric.update_state(loss)
            accuracy.update_state(y, logits)

        @tf.function
        def many(iterator):
            if at_once == 1:
                step(*next(iterator))
            else:
                for _ in tf.range(at_once):
                    step(*next(iterator))
            return loss_metric.result(), accuracy.result()

        self._many, self._at_once = many, at_once
        self._iterator = iter(make_data())

    def seconds(self, steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps // self._at_once):
            loss, accuracy = self._many(self._iterator)
            float(loss), float(accuracy)
        return time.perf_counter() - begin


class Alternate(keras.callbacks.Callback):
    """Times every epoch, and as many hand-written steps after it; keeps hand-written / epoch time."""

    def __init__(self, hand_written: HandWritten, steps: int):
        super().__init__()
        self._hand_written, self._steps = hand_written, steps
        self.ratios: list[float] = []
        self.rates: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        own = time.perf_counter() - self._begin
        other = self._hand_written.seconds(self._steps)
        if epoch >= 2:  # the first ones trace and fill caches
            self.ratios.append(other / own)
            self.rates.append(self._steps / own)


def measure(strategy: tf.distribute.Strategy, at_once: int, steps: int, epochs: int) -> list[Row]:
    hand_written = HandWritten(at_once)
    with strategy.scope():
        model = build_model(at_once)
    ours = Alternate(hand_written, steps)
    tfdml.Trainer(model, strategy).fit(
        make_data(), epochs=epochs, steps_per_epoch=steps, callbacks=[ours], verbose=False
    )
    keras_fit = Alternate(hand_written, steps)
    build_model(at_once).fit(
        make_data(), epochs=epochs, steps_per_epoch=steps, callbacks=[keras_fit], verbose=0
    )
    median = statistics.median
    name = f"steps_per_execution={at_once}"
    over_hand = median(ours.ratios)
    floor, target = (0.97, 0.99) if at_once > 1 else (0.9, None)
    return [
        Row(f"Trainer, {name}", median(ours.rates), "steps/s"),
        Row(f"Trainer, {name}", over_hand, "ratio", "higher", floor, target, "hand-written loop"),
        Row(
            f"Trainer, {name}",
            over_hand / median(keras_fit.ratios),
            "ratio",
            "higher",
            1.0,
            None,
            "single-device model.fit",
        ),
    ]


def main() -> None:
    flags = parse_flags(__doc__ or "")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tfdml.strategies.create("one_device")
    epochs, steps = (7, 64) if flags.quick else (13, 96)
    rows = []
    for at_once in (32, 1):
        rows += measure(strategy, at_once, steps, epochs)
    report("Trainer overhead, MLP 784-512-512-10, batch 128, one core", rows, flags.json)


if __name__ == "__main__":
    main()
