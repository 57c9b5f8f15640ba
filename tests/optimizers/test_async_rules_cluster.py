"""Asynchronous rules in a real parameter-server job: a chief, two workers, two parameter servers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfdml.testing import current_task, start_workers

STEPS = 300
GRADIENT, RATE = 0.375, 2.0**-6
NAMES = ("sgd", "momentum", "adagrad", "adam", "ftrl")
JOBS = {"chief": 1, "worker": 2, "ps": 2}


def serve_or_coordinate(coordinate):
    """Workers and servers serve until the test ends them; the chief coordinates."""
    import tensorflow as tf

    from tfdml.native import loader

    loader.ops()
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if current_task()[0] != "chief":
        server = tf.distribute.Server(
            resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id
        )
        server.join()
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    return coordinate(strategy, tf.distribute.coordinator.ClusterCoordinator(strategy))


def on_parameter_servers(coordinate):
    with start_workers(serve_or_coordinate, jobs=JOBS, args=(coordinate,)) as tasks:
        return tasks.wait_for(0)


def make(name):
    import keras

    opt = keras.optimizers
    return {
        "sgd": lambda: opt.SGD(RATE),
        "momentum": lambda: opt.SGD(RATE, momentum=0.5),
        "adagrad": lambda: opt.Adagrad(RATE, initial_accumulator_value=0.0),
        "adam": lambda: opt.Adam(RATE),
        "ftrl": lambda: opt.Ftrl(RATE),
    }[name]()


def train(name, schedule) -> dict[str, Any]:
    """STEPS updates of a dense variable and of some rows of a table, made by `schedule(step)`."""
    import keras
    import tensorflow as tf

    from tfdml.optimizers.async_rules import increment, rule_for

    weights = keras.Variable(np.ones((50, 40), "f4"), name="weights")
    table = keras.Variable(np.ones((100, 8), "f4"), name="table")
    optimizer = make(name)
    optimizer.build([weights, table])
    rule = rule_for(optimizer)

    @tf.function
    def step():
        number = increment(optimizer.iterations)
        rate = tf.convert_to_tensor(optimizer.learning_rate)
        rule.apply(tf.fill([50, 40], GRADIENT), weights, step=number, learning_rate=rate)
        # Row 3 twice, each time by half.
        values = tf.concat([tf.fill([2, 8], GRADIENT / 2), tf.fill([1, 8], GRADIENT)], 0)
        rows = tf.IndexedSlices(values, tf.constant([3, 3, 98]), tf.constant([100, 8]))
        rule.apply(rows, table, step=number, learning_rate=rate)
        return number

    results = [schedule(step) for _ in range(STEPS)]
    numbers = [int(result.fetch() if hasattr(result, "fetch") else result) for result in results]
    values = {v.path.split("/")[-1]: v.numpy() for v in [weights, table, *optimizer.variables[2:]]}
    devices = sorted({v.value.handle.device for v in [weights, table, *optimizer.variables]})
    return {
        "numbers": sorted(numbers),
        "iterations": int(optimizer.iterations.numpy()),
        "values": values,
        "devices": devices,
    }


def coordinate(strategy, coordinator):
    results = {}
    for name in NAMES:
        with strategy.scope():
            results[name] = train(name, lambda step: coordinator.schedule(step))
        coordinator.join()
    return results


def alone():
    return {name: train(name, lambda step: step()) for name in NAMES}


@pytest.mark.slow
def test_300_scheduled_steps_are_300_updates():
    results = on_parameter_servers(coordinate)
    for name, expected in alone().items():
        result = results[name]
        assert result["numbers"] == list(range(1, STEPS + 1)), name
        assert result["iterations"] == STEPS
        assert len({device.rpartition("/device")[0] for device in result["devices"]}) == 2
        assert all("/job:ps" in device for device in result["devices"])
        for path, value in result["values"].items():
            reference = expected["values"][path]
            if path in ("weights", "table") and name in ("adagrad", "adam"):
                # The rate of a step depends on which steps came before it.
                np.testing.assert_allclose(1 - value, 1 - reference, rtol=0.02, err_msg=path)
            else:
                np.testing.assert_array_equal(value, reference, err_msg=f"{name} {path}")
    sgd, adagrad = results["sgd"]["values"], results["adagrad"]["values"]
    np.testing.assert_array_equal(sgd["weights"], 1 - STEPS * RATE * GRADIENT)
    np.testing.assert_array_equal(sgd["table"][[3, 98]], 1 - STEPS * RATE * GRADIENT)
    assert np.all(np.delete(sgd["table"], [3, 98], axis=0) == 1)
    np.testing.assert_array_equal(adagrad["weights_accumulator"], STEPS * GRADIENT**2)
    np.testing.assert_array_equal(adagrad["table_accumulator"][[3, 98]], STEPS * GRADIENT**2)
