"""Programs that the tests of replica state run in every worker."""

from __future__ import annotations

from typing import Any

import numpy as np


def _strategy(name: str, devices: int | None) -> Any:
    import tfdml

    return tfdml.strategies.create(name, tfdml.cluster.resolve(), num_virtual_devices=devices)


def batch_norm_and_dropout(name: str, devices: int | None = None) -> dict:
    """Unsynchronised BatchNorm, and Dropout applied to ones, trained for two uneven epochs."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.testing import replica_hashes

    strategy = _strategy(name, devices)

    class KeepsMasks(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm = keras.layers.BatchNormalization()
            self.dropout = keras.layers.Dropout(0.5, seed=3)
            self.out = keras.layers.Dense(1)

        def build(self, shape: Any) -> None:
            self.norm.build(shape)
            self.out.build(shape)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.out(self.dropout(self.norm(x, training=training), training=training))

        def train_step(self, data: Any) -> dict:
            super().train_step(data)
            mask = self.dropout(tf.ones([16]), training=True)
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            number = tf.distribute.get_strategy().num_replicas_in_sync
            own = tf.one_hot(replica, number)[:, None] * mask[None, :]
            # Logs are averaged over replicas, so this shows the mask of each.
            return {"masks": own * number}

    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = KeepsMasks()
        model.build((None, 4))
        model.compile(keras.optimizers.SGD(0.1), "mse")
    generator = np.random.default_rng(0)
    x = generator.normal(loc=3.0, size=(21, 4)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(10)
    trainer = tfdml.Trainer(model, strategy)
    history = trainer.fit(data, epochs=2, verbose=False).history
    return {
        "masks": np.array(history["masks"]),
        "moving_mean": np.array(model.norm.moving_mean.numpy()),
        "hashes": replica_hashes(model),
        "finite": all(np.isfinite(v.numpy()).all() for v in model.variables),
    }


def nan_on_worker_1(loss_scale: Any) -> dict:
    """Plants one NaN on the second worker only, in step 2 of 6, under mixed_float16."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.testing import weight_hash

    keras.config.set_dtype_policy("mixed_float16")
    strategy = _strategy("multi_worker", None)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.layers.Input((4,)),
                keras.layers.Dense(8),
                keras.layers.Dense(1, dtype="float32"),
            ]
        )
        model.compile(
            optimizer=tfdml.optimizers.DistributedOptimizer(
                keras.optimizers.AdamW(1e-2), loss_scale=loss_scale, global_clipnorm=1.0
            ),
            loss="mse",
        )
    assert type(model.optimizer) is tfdml.optimizers.DistributedOptimizer
    x = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")
    y = x[:, :1].copy()
    y[8 + 5] = np.nan  # rows 12 to 15 of each 8 go to worker 1
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    path: list[tuple] = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            optimizer = self.model.optimizer
            path.append(
                (
                    float(optimizer.loss_scale),
                    int(optimizer.iterations.numpy()),
                    int(optimizer.skipped_steps.numpy()),
                    weight_hash(self.model),
                )
            )

    tfdml.Trainer(model, strategy).fit(data, verbose=False, callbacks=[Watch()])
    return {"path": path}


def ema_overwrite(name: str, devices: int | None = None) -> list[np.ndarray]:
    """Weights after 6 steps with an EMA that overwrites them every 3 steps."""
    import keras
    import tensorflow as tf

    import tfdml

    strategy = None if name == "keras" else _strategy(name, devices)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(1)

    def build() -> Any:
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
        model.compile(inner, "mse")
        return model

    x = np.random.default_rng(0).normal(size=(24, 4))
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)
    if strategy is None:
        model = build()
        model.fit(data, verbose=0)
    else:
        with strategy.scope():
            model = build()
        tfdml.Trainer(model, strategy).fit(data, verbose=False)
    return [np.array(v.numpy()) for v in model.trainable_variables]
