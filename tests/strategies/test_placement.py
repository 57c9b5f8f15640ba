"""Variables go to the parameter server that holds the fewest bytes; notices when TensorFlow's names change."""

from __future__ import annotations

import inspect

import pytest
from tensorflow.python.distribute import parameter_server_strategy_v2

from tfdml.testing import start_workers

SIZES = [1000, 10, 1000, 10, 500, 400]


def test_the_strategy_still_has_these_names():
    extended = parameter_server_strategy_v2.ParameterServerStrategyV2Extended
    assert list(inspect.signature(extended._create_variable_round_robin).parameters) == [
        "self",
        "next_creator",
        "kwargs",
    ]
    source = inspect.getsource(extended._create_variable_round_robin)
    assert "self._variable_count % self._num_ps" in source


def place() -> list[str]:
    import tensorflow as tf

    import tfdml

    cluster = tfdml.cluster.resolve()
    tfdml.cluster.serve(cluster)
    strategy = tfdml.strategies.create("parameter_server", cluster)
    with strategy.scope():
        variables = [tf.Variable(tf.zeros([size])) for size in SIZES]
    return [variable.device for variable in variables]


@pytest.mark.slow
def test_large_variables_do_not_meet_on_one_server():
    with start_workers(place, jobs={"chief": 1, "worker": 1, "ps": 2}) as tasks:
        devices = tasks.wait_for(0)
    numbers = [int(device.split("task:")[1][0]) for device in devices]
    assert numbers == [0, 1, 1, 0, 0, 1]
