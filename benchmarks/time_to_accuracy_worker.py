"""What one worker of `time_to_accuracy.py` does: train the digits with one codec after another."""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from compressions import from_the_first_step
from exchange_worker import native_or_reference, received_bytes
from sklearn.datasets import load_digits
from taking_turns import Side, serve

import tfdml
from tfdml.errors import ConfigError
from tfdml.testing import weight_hash

GLOBAL_BATCH_SIZE = 64
TEST_EXAMPLES = 360
STEPS_BETWEEN = 10  # evaluations
LEARNING_RATE, MOMENTUM = 0.02, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--codecs", type=json.loads, required=True)
    flags = parser.parse_args()
    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    runs = {
        f"{codec}/{seed}": Side(functools.partial(train, strategy, codec, seed, flags.steps))
        for seed in range(flags.seeds)
        for codec in flags.codecs
    }
    serve(runs, note=native_or_reference())


def train(strategy: tf.distribute.Strategy, codec: str, seed: int, steps: int) -> dict[str, Any]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    training, test = make_data(seed)
    try:
        with strategy.scope():
            model = build_model(codec)
    except ConfigError as error:
        return {"digest": "", "skipped": str(error)}
    watch = Watch()
    tfdml.Trainer(model, strategy).fit(
        training,
        epochs=steps // STEPS_BETWEEN,
        steps_per_epoch=STEPS_BETWEEN,
        validation_data=test,
        callbacks=[watch],
        verbose=False,
    )
    return {"digest": weight_hash(model), **watch.result()}


def make_data(seed: int) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Endless global batches, a new order every pass; and what is held out, another part for each seed."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    order = np.random.default_rng(seed).permutation(len(x))
    test, training = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
    batches = (
        tf.data.Dataset.from_tensor_slices((x[training], y[training]))
        .shuffle(len(training), seed=seed)
        .batch(GLOBAL_BATCH_SIZE, drop_remainder=True)
        .repeat()
    )
    return batches, tf.data.Dataset.from_tensor_slices((x[test], y[test])).batch(TEST_EXAMPLES)


def build_model(codec: str) -> keras.Model:
    hidden = lambda units: keras.layers.Dense(units, activation="relu")
    model = keras.Sequential(
        [keras.Input((64,)), hidden(1024), hidden(896), keras.layers.Dense(10)]
    )
    # DGC has the momentum inside the exchange, of the same size by default.
    momentum = 0.0 if codec == "dgc" else MOMENTUM
    model.compile(
        tfdml.optimizers.DistributedOptimizer(
            keras.optimizers.SGD(LEARNING_RATE, momentum=momentum),
            compression=from_the_first_step(codec),
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=STEPS_BETWEEN,
    )
    return model


class Watch(keras.callbacks.Callback):
    """Accuracy after every epoch; seconds and bytes of its training, without its evaluation."""

    def __init__(self):
        super().__init__()
        self._seconds: list[float] = []
        self._bytes: list[int] = []
        self._accuracies: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter(), received_bytes()

    def on_test_begin(self, logs=None):
        began, before = self._begin
        self._seconds.append(time.perf_counter() - began)
        self._bytes.append(received_bytes() - before)

    def on_epoch_end(self, epoch, logs=None):
        self._accuracies.append(logs["val_accuracy"])

    def result(self) -> dict[str, Any]:
        # The first epoch compiles.
        return {
            "steps": [STEPS_BETWEEN * (epoch + 1) for epoch in range(len(self._accuracies))],
            "accuracies": self._accuracies,
            "step_seconds": statistics.median(self._seconds[1:]) / STEPS_BETWEEN,
            "step_bytes": statistics.median(self._bytes[1:]) / STEPS_BETWEEN,
        }


if __name__ == "__main__":
    main()
