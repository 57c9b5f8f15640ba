"""A process that trains many models keeps nothing of those that are gone."""

from __future__ import annotations

import os

from tfdml.testing import run_in_process, run_workers


def threads_after_each_fit(strategy_name: str, num_fits: int) -> list[int]:
    """Threads of this process after each of `num_fits` trainings of models that are dropped."""
    import gc

    import keras
    import numpy as np
    import tensorflow as tf

    import tfdml

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=2
    )
    generator = np.random.default_rng(0)
    x = generator.normal(size=(24, 4)).astype("float32")
    y = generator.integers(0, 2, 24)
    counts = []
    for _ in range(num_fits):
        with strategy.scope():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
            model.compile(
                optimizer="sgd",
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                steps_per_execution=3,
            )
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(24).batch(4)
        tfdml.Trainer(model, strategy).fit(data, epochs=1, validation_data=data, verbose=0)
        del model, data
        gc.collect()
        counts.append(len(os.listdir("/proc/self/task")))
    return counts


def check(counts: list[int]) -> None:
    # The first starts TensorFlow's own pools. One that is kept would add more than a dozen threads.
    assert counts[-1] - counts[0] < 10, counts


def test_replicas_of_one_process() -> None:
    check(run_in_process(threads_after_each_fit, ("mirrored", 4)))


def test_workers() -> None:
    for counts in run_workers(threads_after_each_fit, 2, args=("multi_worker", 4)):
        check(counts)
