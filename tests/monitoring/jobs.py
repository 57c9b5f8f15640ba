"""Small trainings that are monitored; functions for `run_workers` and `run_in_process`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STEPS, EPOCHS = 12, 3


def make(strategy_name: str, *, at_once: int = 4, width: int = 32, **optimizer: Any):
    """(trainer, training data, validation data) of a small classifier."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfdml

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create(strategy_name, cluster)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.layers.Input((16,)),
                keras.layers.Dense(width, "relu"),
                keras.layers.Dense(4),
            ]
        )
        model.compile(
            tfdml.optimizers.DistributedOptimizer(keras.optimizers.Adam(1e-2), **optimizer),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=at_once,
        )
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS * 32, 16)).astype("float32")
    y = (x[:, 0] > 0).astype("int64") + 2 * (x[:, 1] > 0).astype("int64")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32, drop_remainder=True)
    return tfdml.Trainer(model, strategy), data, data.take(4)


def fit(model_dir: str, strategy_name: str = "one_device", optimizer: Any = None, **monitoring: Any):
    """Train, and return the history."""
    import tfdml

    trainer, data, validation = make(strategy_name, **(optimizer or {}))
    callback = tfdml.callbacks.Monitoring(Path(model_dir), **{"every_steps": 8, **monitoring})
    history = trainer.fit(
        data, epochs=EPOCHS, validation_data=validation, callbacks=[callback], verbose=False
    )
    return dict(history.history)
