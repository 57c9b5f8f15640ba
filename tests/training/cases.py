"""One training run, the same mathematics on any strategy: what the equivalence tests compare."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """What to train and how."""

    strategy: str = "one_device"
    num_virtual_devices: int | None = None
    model: str = "dense"
    optimizer: str = "sgd"
    variant: str = "plain"
    dtype: str = "float64"
    num_rows: int = 19 * 12 + 5  # 20 steps, the last one uneven
    batch: int = 12
    epochs: int = 1
    steps_per_execution: int = 4


def run(case: Case) -> dict:
    """Train as `case` says in this process; return weights, hashes, logs and the number of replicas."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.testing import weight_hash

    keras.utils.set_random_seed(7)
    keras.config.set_floatx(case.dtype)
    keras.config.set_dtype_policy(case.dtype)
    cluster = tfdml.cluster.resolve(os.environ)
    strategy = tfdml.strategies.create(
        case.strategy, cluster, num_virtual_devices=case.num_virtual_devices
    )
    with strategy.scope():
        model = build_model(case.model)
        model.compile(
            optimizer=build_optimizer(case.optimizer, case.variant),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=case.steps_per_execution,
        )
    x, y = make_data(case)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(case.batch)
    trainer = tfdml.Trainer(model, strategy)
    history = trainer.fit(data, epochs=case.epochs, verbose=False)
    evaluation = trainer.evaluate(data)
    return {
        "replicas": strategy.num_replicas_in_sync,
        "weights": [np.array(v) for v in model.get_weights()],
        "hash": weight_hash(model),
        "history": history.history,
        "evaluation": evaluation,
        "iterations": int(model.optimizer.iterations.numpy()),
    }


def make_data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    shape = (8, 8, 1) if case.model != "dense" else (10,)
    x = generator.normal(size=(case.num_rows, *shape)).astype(case.dtype)
    return x, generator.integers(0, 3, size=case.num_rows)


def build_model(name: str):
    import keras

    if name == "dense":
        return keras.Sequential(
            [
                keras.layers.Input((10,)),
                keras.layers.Dense(16, activation="tanh", kernel_regularizer="l2"),
                keras.layers.Dense(3),
            ]
        )
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(synchronized=name == "conv_sync_bn"),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def build_optimizer(name: str, variant: str):
    import keras

    import tfdml

    inner = {
        "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        "adam": lambda: keras.optimizers.Adam(1e-2),
        "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.05),
    }[name]()
    settings = {
        "plain": {},
        "accumulated": {"gradient_accumulation_steps": 4},
        "clipped": {"global_clipnorm": 0.05},
        "loss_scaled": {"loss_scale": "dynamic", "initial_scale": 1024.0, "dynamic_growth_steps": 6},
    }[variant]
    return tfdml.optimizers.DistributedOptimizer(inner, **settings)
