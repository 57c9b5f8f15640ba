"""D15 and D16: multi-worker collectives by default, with two strategies and with bfloat16."""

from __future__ import annotations

import pytest

from tests.upstream.pinned import still_broken, still_raises
from tfdml.testing import run_workers

pytestmark = pytest.mark.upstream
STRATEGIES = "tfdml/strategies/factory.py"


def sum_over_replicas(strategy, size):
    import tensorflow as tf

    @tf.function
    def total():
        context = tf.distribute.get_replica_context
        return strategy.run(lambda: context().all_reduce("sum", tf.ones(size)))

    return total


def default_communication():
    """The hint that the reduction's op carries, and whether the runtime prefers NCCL by itself."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    graph = sum_over_replicas(strategy, 2).get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    hints = {n.attr["communication_hint"].s.decode() for n in nodes if "Collective" in n.op}
    return hints, context.context().config.experimental.collective_nccl


def use_two_strategies():
    import tensorflow as tf

    first = tf.distribute.MultiWorkerMirroredStrategy()
    with first.scope():
        tf.Variable(tf.ones(2))
    second = tf.distribute.MultiWorkerMirroredStrategy()
    sum_over_replicas(second, 4)()
    sum_over_replicas(first, 2)()
    with second.scope():
        tf.Variable(tf.zeros(3))


def create_variable(dtype):
    import tensorflow as tf

    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        tf.Variable(tf.ones(2, dtype))


def test_automatic_communication_does_not_ask_for_nccl():
    for hints, runtime_prefers_nccl in run_workers(default_communication):
        assert hints, "no collective op found in the traced function"
        still_broken("D15", STRATEGIES, broken=hints == {"auto"} and not runtime_prefers_nccl)


def test_two_strategies_collide_on_collective_keys():
    with still_raises("D16", STRATEGIES, match="Collective instance .* expected type"):
        run_workers(use_two_strategies, timeout_seconds=30)


def test_bfloat16_variables_cannot_be_broadcast():
    run_workers(create_variable, args=("float32",))
    with still_raises("D16", STRATEGIES, match="Value for attr 'T' of bfloat16 is not in the list"):
        run_workers(create_variable, args=("bfloat16",), timeout_seconds=30)
