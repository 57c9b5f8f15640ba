"""Tasks with different native libraries do not train; compression says what it saves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tfdml.testing import WorkerError, run_workers, start_workers


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


def coordinate(native_of_job: dict[str, str]) -> None:
    """A Trainer for parameter servers, each job of the cluster with its own TFDML_NATIVE."""
    import os

    import keras

    import tfdml

    cluster = tfdml.cluster.resolve()
    os.environ["TFDML_NATIVE"] = native_of_job[cluster.task_type]
    tfdml.cluster.serve(cluster)
    strategy = tfdml.strategies.create("parameter_server", cluster)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    tfdml.Trainer(model, strategy)


def test_a_server_with_another_library_than_the_coordinator_is_named() -> None:
    jobs = {"chief": 1, "worker": 1, "ps": 1}
    native = {"chief": "require", "worker": "require", "ps": "off"}
    with (
        start_workers(coordinate, jobs=jobs, args=(native,), timeout_seconds=100) as tasks,
        pytest.raises(WorkerError) as raised,
    ):
        tasks.wait_for(0)
    message = r"tasks differ in native library: tfdml_ops-\S+ on chief 0; none on ps 0 \(.+\)\. Install the same"
    assert re.search(message, str(raised.value))


@pytest.mark.slow
def test_a_coordinator_without_native_ops_asks_for_none_of_its_servers() -> None:
    jobs = {"chief": 1, "worker": 1, "ps": 1}
    native = {"chief": "off", "worker": "require", "ps": "off"}
    with start_workers(coordinate, jobs=jobs, args=(native,), timeout_seconds=100) as tasks:
        tasks.wait_for(0)
