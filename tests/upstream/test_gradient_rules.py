"""D3, D4, D13: clipping, accumulation, averaging and mixed dtypes in Keras's own optimizers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.upstream.pinned import still_broken, still_raises
from tfdml.testing import run_in_process

pytestmark = pytest.mark.upstream
OPTIMIZER = "tfdml/optimizers/distributed.py"


def apply_on_two_replicas(steps=1, dtypes=("float32",), **settings):
    """Replica i has the gradient 10 in place i; returns the change of every variable."""
    import keras
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        variables = [keras.Variable(np.zeros(2), dtype=dtype) for dtype in dtypes]
        optimizer = keras.optimizers.SGD(1.0, **settings)
        optimizer.build(variables)

    @tf.function
    def step():
        def replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradients = [tf.one_hot(index, 2, 10.0, dtype=dtype) for dtype in dtypes]
            optimizer.apply(gradients, variables)

        strategy.run(replica)

    for _ in range(steps):
        step()
    return [np.asarray(v.numpy(), "float32") for v in variables]


def on_two_replicas(**settings):
    return run_in_process(apply_on_two_replicas, kwargs=settings, num_virtual_devices=2)


def test_without_rules_the_gradients_are_summed():
    np.testing.assert_array_equal(on_two_replicas(), [[-10, -10]])


@pytest.mark.parametrize("rule", ["clipnorm", "global_clipnorm"])
def test_clipping_comes_before_the_sum(rule):
    (change,) = on_two_replicas(**{rule: 1.0})
    still_broken("D3", OPTIMIZER, broken=np.linalg.norm(change) > 1.4)


def test_gradient_accumulation_cannot_be_traced():
    with still_raises("D4", OPTIMIZER, match="merge_call. called while defining a new graph"):
        on_two_replicas(gradient_accumulation_steps=2)


def test_overwriting_with_the_moving_average_cannot_be_traced():
    with still_raises("D4", OPTIMIZER, match="merge_call. called while defining a new graph"):
        on_two_replicas(use_ema=True, ema_overwrite_frequency=1)


def test_mixed_dtypes_cannot_be_reduced():
    with still_raises(
        "D13",
        "tfdml/collectives/dense.py",
        match="Tensors in list passed to 'values' of 'ConcatV2' Op have types",
    ):
        on_two_replicas(dtypes=("float32", "float16"))
