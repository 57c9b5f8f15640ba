"""Averages of the weights: they are what validation sees and what the model ends with, on any number of replicas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfdml.testing import run_in_process, run_workers

MOMENTUM = 0.8
X = np.random.default_rng(0).normal(size=(20, 3))
Y = X @ [[1.0], [-2.0], [0.5]]


def train_with_averages(strategy_name: str, devices: int | None) -> dict[str, Any]:
    """Two epochs of two steps; the weights after every step, and what validation said."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.config import OptimizerConfig
    from tfdml.testing import replica_hashes

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(1)
    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=devices
    )
    config = OptimizerConfig(name="adam", learning_rate=0.1)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
        optimizer = tfdml.optimizers.from_config(
            config, global_batch_size=10, ema_momentum=MOMENTUM
        )
        model.compile(optimizer, "mse")
    steps: list[list[np.ndarray]] = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
    )
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)
    history = tfdml.Trainer(model, strategy).fit(
        data,
        epochs=2,
        validation_data=data,
        callbacks=[record, keras.callbacks.SwapEMAWeights()],
        verbose=False,
    )
    return {
        "steps": steps,
        "weights": model.get_weights(),
        "val_loss": history.history["val_loss"],
        "hashes": replica_hashes(model),
    }


def averages(steps: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """What they are to be after each step; the first is the first weights."""
    result = [steps[0]]
    for weights in steps[1:]:
        pairs = zip(result[-1], weights, strict=True)
        result.append([MOMENTUM * average + (1 - MOMENTUM) * each for average, each in pairs])
    return result


@pytest.mark.parametrize(
    ("workers", "devices"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)]
)
def test_validation_and_the_trained_model_have_the_averages(workers, devices):
    if workers == 1:
        tasks = [run_in_process(train_with_averages, ("mirrored", devices))]
    else:
        tasks = run_workers(train_with_averages, workers, ("multi_worker", devices))
    for task in tasks:
        expected = averages(task["steps"])
        assert len(expected) == 4
        for value, average, last in zip(
            task["weights"], expected[-1], task["steps"][-1], strict=True
        ):
            np.testing.assert_allclose(value, average, rtol=1e-9)
            assert np.abs(value - last).max() > 1e-3  # which the last weights are not
        losses = [float(np.mean((X @ kernel + bias - Y) ** 2)) for kernel, bias in expected[1::2]]
        assert task["val_loss"] == pytest.approx(losses, rel=1e-6)
    assert len({each for task in tasks for each in task["hashes"]}) == 1
