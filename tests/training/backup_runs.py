"""Programs that the tests of BackupAndRestore run in every worker."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np


def train(
    directory: str, die_in_epoch: int | None = None, compression: dict[str, Any] | None = None
) -> dict[str, Any]:
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
                # With 256 units the kernel is large enough to be compressed.
                keras.layers.Dense(64 if compression is None else 256, "tanh"),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(1),
            ]
        )
        optimizer = tfdml.optimizers.DistributedOptimizer(
            keras.optimizers.Adam(0.01), compression=compression
        )
        model.compile(optimizer, "mse")
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
    history = trainer.fit(data, epochs=4, verbose=False, callbacks=[backup, Dies()])
    return {
        "epochs": epochs,
        "history": history.history,
        "hash": weight_hash(model, include_optimizer=True),
        "iterations": int(model.optimizer.iterations.numpy()),
    }


def load_parts(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Load replica state of `parts` in a cluster of another size, and return this task's own."""
    import keras

    import tfdml
    from tfdml.collectives import ReplicaState

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    state = ReplicaState()
    with strategy.scope():
        for key, value in parts[0].items():
            path, _, name = key.rpartition("/")
            variable = keras.Variable(np.zeros(value.shape[1:], value.dtype), name="v")
            variable._path = path
            state.zeros_like(variable, name)
    replicas = strategy.num_replicas_in_sync
    state.load(parts, first_replica=tfdml.cluster.resolve().task_index, num_replicas=replicas)
    return state.export_local()
