"""D2: the loss-scale optimizer looks at every replica's own gradients, before they are summed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from tests.upstream.pinned import still_broken
from tfdml.testing import current_task, run_in_process, start_workers

pytestmark = pytest.mark.upstream
OPTIMIZER = "tfdml/optimizers/distributed.py"


def apply_not_finite_on_worker_1():
    import keras
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        variable = keras.Variable(np.ones(2, "float32"))
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
        optimizer.build([variable])

    @tf.function
    def step(gradient):
        strategy.run(lambda g: optimizer.apply([g], [variable]), args=(gradient,))

    step(tf.ones(2))
    print("finite step done")
    bad = current_task()[1] == 1
    step(tf.fill([2], float("nan") if bad else 1.0))
    print("step with a NaN done")
    return optimizer.dynamic_scale.numpy()


def apply_inf_on_replica_1():
    import keras
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        variable = keras.Variable(np.ones(2, "float32"))
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
        optimizer.build([variable])

    @tf.function
    def step():
        def replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([tf.fill([2], tf.where(index == 1, math.inf, 1.0))], [variable])

        strategy.run(replica)

    before = float(optimizer.dynamic_scale.numpy())
    step()
    return variable.numpy(), float(optimizer.dynamic_scale.numpy()) == before


@pytest.mark.slow
def test_nan_on_one_worker_hangs_the_cluster():
    with start_workers(apply_not_finite_on_worker_1, timeout_seconds=100) as workers:
        while not all("finite step done" in w.output() for w in workers):
            if any(w.finished for w in workers):
                workers.wait()  # raises with the output of both
            time.sleep(0.1)
        for _ in range(100):
            if all(w.finished for w in workers):
                break
            time.sleep(0.1)
        still_broken("D2", OPTIMIZER, broken=not all(w.finished for w in workers))


def test_inf_on_one_replica_reaches_the_weights():
    weights, same_scale = run_in_process(apply_inf_on_replica_1, num_virtual_devices=2)
    still_broken("D2", OPTIMIZER, broken=bool(np.all(np.isinf(weights))) and same_scale)
