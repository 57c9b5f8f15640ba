"""Programs that the tests of BackupAndRestore run in every worker."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

ROWS, FEATURES, BATCH, EPOCHS = 46, 5, 8, 3
STEPS = 6  # of an epoch; the last has 6 rows


def make_model(
    compression: Any = None,
    precision: str = "float32",
    same_on_any_number: bool = False,
    optimizer_name: str = "adam",
) -> Any:
    """Everything that has state: Dropout, BatchNorm, EMA, accumulation, loss scale, momentum.

    With `same_on_any_number` of replicas: without what draws for or looks at the examples of one replica.
    """
    import keras

    import tfdml

    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(precision)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((FEATURES,)),
            layers.Dense(64),
            *([] if same_on_any_number else [layers.BatchNormalization(), layers.Dropout(0.3)]),
            layers.Activation("tanh"),
            layers.Dense(64, "relu"),  # of which the kernel is large enough to be compressed
            layers.Dense(3, dtype="float32"),
        ]
    )
    average: dict[str, Any] = {"use_ema": True, "ema_momentum": 0.9}
    optimizers = {
        "adam": lambda: keras.optimizers.Adam(0.01, **average),
        "lars": lambda: tfdml.optimizers.Lars(0.02, trust_coefficient=0.2, **average),
        "lamb": lambda: tfdml.optimizers.Lamb(0.02, weight_decay=0.1, **average),
    }
    optimizer = tfdml.optimizers.DistributedOptimizer(
        optimizers[optimizer_name](),
        compression=compression,
        gradient_accumulation_steps=2,
        initial_scale=1024.0,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=1)
    return model


def make_data(kind: str) -> Any:
    """Batches of (x, y) in one of several kinds of plain pipelines."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, FEATURES)).astype("float32")
    y = generator.integers(3, size=ROWS)
    data = tf.data.Dataset.from_tensor_slices((x, y))
    if kind == "shuffled":
        return data.shuffle(ROWS, seed=3).batch(BATCH)
    if kind == "uncounted":
        return data.shuffle(20, seed=3).batch(BATCH).filter(lambda x, y: True)
    if kind == "in order":
        return data.batch(BATCH)
    assert kind == "from python"
    spec = data.batch(BATCH).element_spec
    return tf.data.Dataset.from_generator(
        lambda: iter(data.batch(BATCH).as_numpy_iterator()), output_signature=spec
    )


def train(
    directory: str,
    die_after: int | None = None,
    *,
    strategy_name: str = "multi_worker",
    data: str = "in order",
    source: str | None = None,
    save_freq: str | int = 4,
    compression: Any = None,
    precision: str = "float32",
    dying_task: int = 1,
    signum: int = signal.SIGKILL,
    num_virtual_devices: int | None = None,
    fit: dict[str, Any] | None = None,
    steps_per_execution: int = 1,
    delete: bool = False,
    calm: bool = False,
    same_on_any_number: bool = False,
    local: str | None = None,
    optimizer_name: str = "adam",
) -> dict[str, Any]:
    """Train; send `signum` to one task after so many steps of this start, if asked."""
    import keras

    import tfdml
    from tests.training.source_runs import make_source
    from tfdml.testing import weight_hash

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create(
        strategy_name, cluster, num_virtual_devices=num_virtual_devices
    )
    with strategy.scope():
        model = make_model(compression, precision, same_on_any_number, optimizer_name)
        model.steps_per_execution = steps_per_execution
    trainer = tfdml.Trainer(model, strategy)
    steps: list[tuple[int, int]] = []
    epochs: list[int] = []

    class Seen(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            epochs.append(epoch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append((epochs[-1], batch))
            if len(steps) == die_after and cluster.task_index == dying_task:
                os.kill(os.getpid(), signum)

        def get_state(self) -> list[Any]:
            return [list(steps), list(epochs)]

        def set_state(self, state: list[Any]) -> None:
            self.before = state

    seen, backup = (
        Seen(),
        tfdml.callbacks.BackupAndRestore(directory, save_freq, delete_checkpoint=delete),
    )
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=1.0)
    decay = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    csv = keras.callbacks.CSVLogger((local or directory) + ".csv")
    callbacks = [seen, backup] if calm else [plateau, decay, seen, backup, csv]
    history = trainer.fit(
        make_source(source) if source else make_data(data),
        epochs=EPOCHS,
        verbose=False,
        callbacks=callbacks,
        **(fit or {}),
    )
    return {
        "steps": steps,
        "history": {
            name: values
            for name, values in history.history.items()
            if name not in ("wire_bytes_per_step", "compression_ratio")
        },
        "hash": weight_hash(model, include_optimizer=True),
        "iterations": int(model.optimizer.iterations.numpy()),
        "random": float(np.random.random()),
        "python": __import__("random").random(),
    }


def train_on_a_disk_that_fills_up(directory: str, log_dir: str) -> dict[str, Any]:
    """The disk of `directory` is full from step 6 to step 13; a save is due at 4, 8, 12 and 16."""
    import contextlib

    import keras

    import tfdml
    from tfdml.testing import faults, weight_hash

    strategy = tfdml.strategies.create("one_device")
    with strategy.scope():
        model = make_model()
    stack = contextlib.ExitStack()
    found: dict[int, list[str]] = {}

    class Fills(keras.callbacks.Callback):
        step = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step += 1
            time.sleep(0.2)  # so that a save has come to its end before the next is due
            if self.step == 6:
                stack.enter_context(faults.full_disk(directory))
            if self.step == 13:
                found[13] = sorted(os.listdir(directory))
                stack.close()

    backup = tfdml.callbacks.BackupAndRestore(directory, 4, delete_checkpoint=False)
    callbacks = [Fills(), backup, keras.callbacks.TensorBoard(log_dir)]
    trainer = tfdml.Trainer(model, strategy)
    history = trainer.fit(make_data("in order"), epochs=EPOCHS, verbose=False, callbacks=callbacks)
    return {
        "found": found,
        "history": history.history,
        "hash": weight_hash(model, include_optimizer=True),
        "left": sorted(os.listdir(directory)),
    }


def load_parts(directory: str) -> dict[str, Any]:
    """The replica state of a snapshot, loaded by a cluster of another size: this task's own, and the sums."""
    import keras

    import tfdml
    from tfdml.checkpoint import Snapshots
    from tfdml.collectives import ReplicaState

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    restored = Snapshots(directory).restore()
    assert restored is not None
    parts = restored.parts("replicas")
    state = ReplicaState()
    with strategy.scope():
        for key, value in parts[0].items():
            path, _, name = key.rpartition("/")
            variable = keras.Variable(np.zeros(value.shape[1:], value.dtype), name="v")
            variable._path = path
            state.zeros_like(variable, name)
    replicas = strategy.num_replicas_in_sync
    state.load(parts, first_replica=tfdml.cluster.resolve().task_index, num_replicas=replicas)
    sums = {key: sum(part[key].sum(axis=0) for part in parts) for key in parts[0]}
    return {"own": state.export_local(), "sums": sums}
