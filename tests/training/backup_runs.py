"""Programs that the tests of BackupAndRestore run in every worker."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np


def train(directory: str, die_in_epoch: int | None = None) -> dict[str, Any]:
    """Four epochs with Dropout and Adam; worker 1 kills itself in the middle of an epoch if asked."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.testing import weight_hash

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.layers.Input((8,)),
                keras.layers.Dense(64, "tanh"),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(1),
            ]
        )
        model.compile(tfdml.optimizers.DistributedOptimizer(keras.optimizers.Adam(0.01)), "mse")
    x = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(8)
    trainer = tfdml.Trainer(model, strategy)
    epochs: list[int] = []

    class Dies(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            epochs.append(epoch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if epochs[-1] == die_in_epoch and batch == 2 and not trainer.is_chief:
                os.kill(os.getpid(), signal.SIGKILL)

    backup = tfdml.callbacks.BackupAndRestore(directory, delete_checkpoint=False)
    trainer.fit(data, epochs=4, verbose=False, callbacks=[backup, Dies()])
    return {
        "epochs": epochs,
        "hash": weight_hash(model, include_optimizer=True),
        "iterations": int(model.optimizer.iterations.numpy()),
    }
