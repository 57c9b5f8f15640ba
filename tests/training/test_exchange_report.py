"""Tasks with different native libraries do not train; compression says what it saves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tfdml.testing import WorkerError, run_workers


def fit(native_of_task: tuple[str, str]) -> dict[str, Any]:
    """Two epochs of a small model with int8; each task with its own TFDML_NATIVE."""
    import os

    import keras
    import tensorflow as tf

    import tfdml

    cluster = tfdml.cluster.resolve()
    os.environ["TFDML_NATIVE"] = native_of_task[cluster.task_index]
    strategy = tfdml.strategies.create("multi_worker", cluster)
    with strategy.scope():
        model = keras.Sequential(
            [keras.layers.Input((32,)), keras.layers.Dense(64, "tanh"), keras.layers.Dense(1)]
        )
        optimizer = tfdml.optimizers.DistributedOptimizer(
            keras.optimizers.SGD(0.01), compression="int8"
        )
        model.compile(optimizer, "mse")
    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(16)
    return dict(tfdml.Trainer(model, strategy).fit(data, epochs=2, verbose=False).history)


def test_a_task_with_another_library_is_named() -> None:
    with pytest.raises(WorkerError) as raised:
        run_workers(fit, 2, (("require", "off"),))
    message = (
        r"tasks differ in native library: [0-9a-f]{12} on worker 0 \(.+\); reference on worker 1 \("
    )
    assert re.search(message, str(raised.value))


def test_figures_of_the_exchange_are_in_the_logs_of_every_task() -> None:
    first, second = run_workers(fit, 2, (("off", "off"),))
    assert first == second
    # 2,048 of 2,177 parameters are compressed, to 8 blocks of 65 words; the rest travels dense.
    assert first["wire_bytes_per_step"] == [4 * 8 * 65 + 4 * 129] * 2
    assert first["compression_ratio"][0] == pytest.approx(2177 * 4 / (4 * 8 * 65 + 4 * 129))
    assert all(norm > 0 for norm in first["residual_norm"])
