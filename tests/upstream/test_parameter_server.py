"""D5 and D6: Keras variables on parameter servers."""

from __future__ import annotations

import pytest

from tests.upstream.pinned import still_broken, still_raises
from tfdml.testing import current_task, run_in_process, start_workers

pytestmark = pytest.mark.upstream
ASYNC_RULES = "tfdml/optimizers/async_rules.py"
PARAMETER_SERVER = "tfdml/strategies/"
STEPS = 300


def parameter_server_task(coordinate):
    """Workers and servers serve until the test ends them; the chief coordinates."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if current_task()[0] != "chief":
        server = tf.distribute.Server(
            resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id
        )
        server.join()
    return coordinate(resolver)


def on_parameter_servers(coordinate, workers=2, servers=1):
    jobs = {"chief": 1, "worker": workers, "ps": servers}
    with start_workers(parameter_server_task, jobs=jobs, args=(coordinate,)) as tasks:
        return tasks.wait_for(0)


def fit(resolver):
    import keras
    import numpy as np
    import tensorflow as tf

    strategy = tf.distribute.ParameterServerStrategy(resolver)
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)


def count_steps(resolver):
    import keras
    import tensorflow as tf

    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        variable = keras.Variable([1.0, 2.0])
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build([variable])

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply([tf.ones(2)], [variable]))

    for _ in range(STEPS):
        coordinator.schedule(step)
    coordinator.join()
    return int(optimizer.iterations.numpy())


def save_partitioned(resolver):
    import keras
    import tensorflow as tf

    partitioner = tf.distribute.experimental.partitioners.FixedShardsPartitioner(2)
    strategy = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=partitioner)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save_weights("model.weights.h5")


def ops_of_assign_add():
    import keras
    import tensorflow as tf

    variable = keras.Variable([1.0, 2.0])
    graph = tf.function(lambda: variable.assign_add([1.0, 1.0])).get_concrete_function().graph
    return sorted({op.type for op in graph.get_operations()})


def test_assign_add_reads_and_then_writes():
    ops = run_in_process(ops_of_assign_add)
    assert ("AssignVariableOp" in ops) != ("AssignAddVariableOp" in ops), ops
    still_broken("D5", ASYNC_RULES, broken="AssignVariableOp" in ops)


def test_fit_is_not_supported():
    with still_raises("D5", "tfdml/training/trainer.py", match="create_per_worker_dataset"):
        on_parameter_servers(fit)


@pytest.mark.slow
def test_asynchronous_steps_are_lost():
    still_broken("D5", ASYNC_RULES, broken=on_parameter_servers(count_steps) < STEPS)


def test_partitioned_variables_cannot_be_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with still_raises("D6", PARAMETER_SERVER, match="'ShardedVariable' object has no attribute"):
        on_parameter_servers(save_partitioned, workers=1, servers=2)
