"""Small trainings that mean the same on any number of replicas: what the equivalence tests compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

OPTIMIZERS = ("sgd", "adam", "adamw")
LARGE_BATCH = ("lars", "lamb")
VARIANTS = ("plain", "accumulated", "clipped", "loss_scaled")
MODELS = ("dense", "conv_sync_bn")


@dataclass(frozen=True)
class Case:
    """What to train: 20 steps by default, the last one of 5 examples, so uneven or empty on some replicas."""

    model: str = "dense"
    optimizer: str = "sgd"
    variant: str = "plain"
    dtype: str = "float64"
    num_rows: int = 19 * 12 + 5
    global_batch_size: int = 12
    steps_per_execution: int = 4


@dataclass(frozen=True)
class Replicas:
    """Where to train: the arguments of `tfdml.strategies.create`."""

    strategy: str
    num_virtual_devices: int | None = None


ALL_CASES = [
    Case(model=model, optimizer=optimizer, variant=variant)
    for model, optimizer, variant in product(MODELS, OPTIMIZERS, VARIANTS)
] + [
    Case("dense", optimizer, variant)
    for optimizer, variant in product(LARGE_BATCH, VARIANTS)
    # lamb has a schedule here, and Keras's own counts the batches that it accumulates, not the updates.
    if (optimizer, variant) != ("lamb", "accumulated")
]


def in_float32(cases: list[Case]) -> list[Case]:
    return [replace(case, dtype="float32") for case in cases]


def train_with_keras(cases: list[Case]) -> list[dict[str, Any]]:
    """The reference: `model.fit` of plain Keras on one device; tfdml takes no part."""
    return [_train_with_keras(case) for case in cases]


def _train_with_keras(case: Case) -> dict[str, Any]:
    import keras

    _set_dtype_and_seed(case)
    model = build_model(case.model)
    settings: dict[str, Any] = {
        "plain": {},
        "loss_scaled": {},  # scales are powers of two, so exact: the same as without
        "accumulated": {"gradient_accumulation_steps": 4},
        "clipped": {"global_clipnorm": 0.05},
    }[case.variant]
    model.compile(
        build_optimizer(case.optimizer, **settings),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(make_data(case), verbose=0).history
    evaluation = model.evaluate(make_data(case), verbose=0, return_dict=True)
    return _result(model, history, evaluation)


def train_with_tfdml(cases: list[Case], replicas: Replicas) -> list[dict[str, Any]]:
    """The same trainings by `tfdml.Trainer`, all in this process on one strategy."""
    import tfdml

    strategy = tfdml.strategies.create(
        replicas.strategy,
        tfdml.cluster.resolve(),
        num_virtual_devices=replicas.num_virtual_devices,
    )
    return [_train_with_tfdml(case, strategy) for case in cases]


def _train_with_tfdml(case: Case, strategy: Any) -> dict[str, Any]:
    import keras

    import tfdml

    _set_dtype_and_seed(case)
    settings: dict[str, Any] = {
        "plain": {},
        "accumulated": {"gradient_accumulation_steps": 4},
        "clipped": {"global_clipnorm": 0.05},
        "loss_scaled": {
            "loss_scale": "dynamic",
            "initial_scale": 1024.0,
            "dynamic_growth_steps": 6,
        },
    }[case.variant]
    with strategy.scope():
        model = build_model(case.model)
        model.compile(
            tfdml.optimizers.DistributedOptimizer(build_optimizer(case.optimizer), **settings),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=case.steps_per_execution,
        )
    trainer = tfdml.Trainer(model, strategy)
    history = trainer.fit(make_data(case), verbose=False).history
    evaluation = trainer.evaluate(make_data(case))
    result = _result(model, history, evaluation)
    return result | {"replicas": strategy.num_replicas_in_sync}


def _result(model: Any, history: dict, evaluation: dict) -> dict[str, Any]:
    from tfdml.testing import replica_hashes

    return {
        "weights": {v.path: np.array(v.numpy()) for v in model.weights},
        "hashes": replica_hashes(model),
        "history": history,
        "evaluation": evaluation,
        "iterations": int(model.optimizer.iterations.numpy()),
    }


def _set_dtype_and_seed(case: Case) -> None:
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    keras.config.set_floatx(case.dtype)
    keras.config.set_dtype_policy(case.dtype)


def make_data(case: Case) -> Any:
    import tensorflow as tf

    generator = np.random.default_rng(3)
    shape = (10,) if case.model == "dense" else (8, 8, 1)
    x = generator.normal(size=(case.num_rows, *shape)).astype(case.dtype)
    y = generator.integers(0, 3, size=case.num_rows)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(case.global_batch_size)


def build_model(name: str) -> Any:
    import keras

    # Biases that start at 0 would be as small as their 20 updates, and float32 results would be compared
    # relative to that.
    biases = keras.initializers.RandomNormal(stddev=0.5)
    if name == "dense":
        layers = [
            keras.layers.Input((10,)),
            keras.layers.Dense(16, "tanh", kernel_regularizer="l2", bias_initializer=biases),
            keras.layers.Dense(3, bias_initializer=biases),
        ]
    else:
        layers = [
            keras.layers.Input((8, 8, 1)),
            # No bias: before BatchNormalization its gradient is rounding noise, which Adam magnifies.
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, bias_initializer=biases),
        ]
    return keras.Sequential(layers)


def build_optimizer(name: str, **settings: Any) -> Any:
    """Rates at which 20 steps of float32 do not magnify rounding: larger ones (an effective rate of 1) did."""
    import keras

    if name in LARGE_BATCH:
        from tfdml.optimizers import Lamb, Lars, StableDecay, WarmUp

        if name == "lars":
            return Lars(0.02, 0.9, trust_coefficient=0.2, weight_decay=0.05, **settings)
        falling = StableDecay(0.02, stable_steps=8, decay_steps=6, end=0.002)
        rate = WarmUp(falling, start=0.005, steps=4)
        return Lamb(rate, weight_decay=0.05, **settings)
    if name == "sgd":
        return keras.optimizers.SGD(0.02, momentum=0.9, **settings)
    if name == "adam":
        return keras.optimizers.Adam(2e-3, **settings)
    return keras.optimizers.AdamW(2e-3, weight_decay=0.05, **settings)
