"""Small trainings that are monitored; functions for `run_workers` and `run_in_process`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEPS, EPOCHS = 12, 3


def make(
    strategy_name: str,
    *,
    at_once: int = 4,
    width: int = 32,
    batch: int = 32,
    batches: int = STEPS,
    devices: int | None = None,
    compiling: Any = None,
    **optimizer: Any,
):
    """(trainer, training data, validation data) of a small classifier."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfdml

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create(strategy_name, cluster, num_virtual_devices=devices)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.layers.Input((16,)),
                keras.layers.Dense(width, "relu"),
                keras.layers.Dense(width, "relu"),
                keras.layers.Dense(4),
            ]
        )
        model.compile(
            tfdml.optimizers.DistributedOptimizer(keras.optimizers.Adam(1e-2), **optimizer),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=at_once,
            **(compiling or {}),
        )
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batches * batch, 16)).astype("float32")
    y = (x[:, 0] > 0).astype("int64") + 2 * (x[:, 1] > 0).astype("int64")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch, drop_remainder=True)
    return tfdml.Trainer(model, strategy), data, data.take(4)


def fit(
    model_dir: str,
    strategy_name: str = "one_device",
    *,
    making: Any = None,
    plant: Any = None,
    epochs: int = EPOCHS,
    **monitoring: Any,
):
    """Train, and return the history, with a hash of the weights.

    Args:
        model_dir: "" does not monitor.
        making: arguments of `make`.
        plant: takes the number of this worker and the data, and returns (data, callbacks) with a fault in them.
    """
    import tfdml
    from tfdml.testing import weight_hash

    trainer, data, validation = make(strategy_name, **(making or {}))
    callbacks = []
    if model_dir:
        options = {"every_steps": 8, **monitoring}
        callbacks.append(tfdml.callbacks.Monitoring(Path(model_dir), **options))
    if plant is not None:
        data, more = plant(tfdml.cluster.resolve().task_index, data)
        callbacks += more
    history = trainer.fit(
        data, epochs=epochs, validation_data=validation, callbacks=callbacks, verbose=False
    )
    return dict(history.history) | {"weights": weight_hash(trainer.model)}


def shown(model: Any) -> dict[str, Any]:
    """Images, made with the model on the chief."""
    import numpy as np

    outputs = np.asarray(model(np.zeros((3, 16), "float32")))
    return {"predictions": np.tile(outputs[:, :, None, None] > 0, [1, 4, 8, 3]).astype("float32")}


def own_core(worker: int) -> None:
    """Let worker n compute on core n alone."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[worker]})


def cores_only(worker: int, data: Any) -> Any:
    """No fault."""
    own_core(worker)
    return data, []


def slow_input(worker: int, data: Any) -> Any:
    """Worker 1 takes 30 ms to read a batch."""
    import tensorflow as tf

    own_core(worker)
    if worker != 1:
        return data, []

    def slowly(x: Any, y: Any) -> Any:
        waited = tf.numpy_function(lambda: time.sleep(0.03) or 0, [], tf.int64)
        with tf.control_dependencies([waited]):
            return tf.identity(x), tf.identity(y)

    return data.map(slowly), []


def busy_loop(worker: int, data: Any) -> Any:
    """Beside worker 1, on its core, two processes compute without end (until it does)."""
    own_core(worker)
    if worker == 1:
        loop = "import os, time\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**5))"
        for _ in range(2):
            subprocess.Popen([sys.executable, "-c", loop])
    return data, []


def changed_weight(worker: int, data: Any) -> Any:
    """Worker 1 changes one weight when the third epoch begins."""
    import keras

    class Change(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if worker == 1 and epoch == 2:
                kernel = self.model.trainable_variables[2].value
                local = kernel.values[0]
                local.assign_add(0.001 * (local == local[0, 0].numpy()).numpy().astype("float32"))

    return data, [Change()]
