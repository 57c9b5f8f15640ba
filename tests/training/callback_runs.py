"""Programs that the tests of callbacks run in every worker."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def _trainer(optimizer: Any = None) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    import tfdml

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        inner = (optimizer or keras.optimizers.AdamW)(0.05)
        model.compile(tfdml.optimizers.DistributedOptimizer(inner), "mse", metrics=["mae"])
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x @ np.ones((4, 1), "float32"))).batch(8)
    return tfdml.Trainer(model, strategy), data


def keras_writers_and_deciders(directory: str) -> dict:
    """Every writer and decider of Keras at once; each task has a folder of its own to write into."""
    import keras

    trainer, data = _trainer()
    task = 0 if trainer.is_chief else 1
    folder = os.path.join(directory, f"task{task}")
    os.makedirs(folder)
    seen: list[tuple] = []
    hooks: list[str] = []
    history = trainer.fit(
        data,
        epochs=40,
        validation_data=data,
        verbose=False,
        callbacks=[
            keras.callbacks.ModelCheckpoint(f"{folder}/model.keras"),
            keras.callbacks.ModelCheckpoint(f"{folder}/w.weights.h5", save_weights_only=True),
            keras.callbacks.TensorBoard(f"{folder}/logs", update_freq=1),
            keras.callbacks.CSVLogger(f"{folder}/log.csv"),
            keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=10.0),
            keras.callbacks.EarlyStopping("val_loss", patience=4, min_delta=10.0),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: seen.append((epoch, dict(logs))),
                on_train_end=lambda logs: hooks.append("train_end"),
                on_test_begin=lambda logs: hooks.append("test_begin"),
            ),
        ],
    )
    files = sorted(
        os.path.relpath(os.path.join(path, name), folder)
        for path, _, names in os.walk(folder)
        for name in names
    )
    return {
        "files": files,
        "seen": seen,
        "hooks": hooks,
        "history": history.history,
        "learning_rate": float(trainer.model.optimizer.learning_rate.numpy()),
        "weights": trainer.model.get_weights(),
        "iterations": int(trainer.model.optimizer.iterations.numpy()),
        "prediction": trainer.predict(data),
    }


def stop_on_worker_1_only() -> int:
    """A callback of one's own that wants to stop after batch 2 (of 4), on one task only."""
    import keras

    trainer, data = _trainer()
    batches: list[int] = []

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            batches.append(batch)
            if batch == 2 and not trainer.is_chief:
                self.model.stop_training = True

    trainer.fit(data, epochs=3, verbose=False, callbacks=[Stops()])
    return len(batches)


def evaluate_on_the_chief_only() -> str:
    """Must be refused on the chief at once; the other task learns of it when the chief ends."""
    import keras
    import pytest

    import tfdml
    from tfdml.errors import ConfigError

    trainer, data = _trainer()

    class Evaluates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.evaluate(data)

    callback = tfdml.callbacks.ChiefOnly(Evaluates())
    if not trainer.is_chief:
        trainer.fit(data, verbose=False, callbacks=[callback])
        return ""
    with pytest.raises(ConfigError) as caught:
        trainer.fit(data, verbose=False, callbacks=[callback])
    return str(caught.value)


def load_without_tfdml(directory: str) -> dict:
    """Load what ModelCheckpoint wrote, in a process that has never seen tfdml, and train on."""
    import sys

    import keras

    model = keras.models.load_model(f"{directory}/model.keras")
    loaded_with = sorted(name for name in sys.modules if name.split(".")[0] == "tfdml")
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    result = {
        "optimizer": type(model.optimizer).__name__,
        "iterations": int(model.optimizer.iterations.numpy()),
        "learning_rate": float(model.optimizer.learning_rate.numpy()),
        "weights": model.get_weights(),
        "slots": [float(np.abs(v.numpy()).sum()) for v in model.optimizer.variables],
        "prediction": model.predict(x, verbose=0),
        "modules": loaded_with,
    }
    fresh = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    fresh.load_weights(f"{directory}/w.weights.h5")
    result["from_weights"] = fresh.get_weights()
    model.fit(x, x @ np.ones((4, 1), "float32"), verbose=0)
    result["trained_on"] = int(model.optimizer.iterations.numpy())
    return result


def keras_backup_on_two_tasks(directory: str) -> str:
    """Keras's own BackupAndRestore would restore the chief alone."""
    import keras
    import pytest

    from tfdml.errors import ConfigError

    trainer, data = _trainer()
    backup = keras.callbacks.BackupAndRestore(directory)
    with pytest.raises(ConfigError) as caught:
        trainer.fit(data, verbose=False, callbacks=[backup])
    return str(caught.value)
