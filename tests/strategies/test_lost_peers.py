"""A task whose peer is gone says so by the peer's name: from the Trainer, and from a loop of one's own."""

from __future__ import annotations

import re

import pytest

from tests.launch.launcher import eventually
from tfdml.strategies import PeerLost
from tfdml.testing import WorkerError, start_workers


def fit_for_ever() -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    import tfdml

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
    data = tf.data.Dataset.from_tensor_slices(np.ones((4, 5), "float32"))
    data = data.map(lambda row: (row[:4], row[4:])).batch(4)
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("epoch", epoch))
    tfdml.Trainer(model, strategy).fit(data, epochs=10**9, verbose=False, callbacks=[told])


def test_the_trainer_names_a_worker_that_was_killed() -> None:
    with start_workers(fit_for_ever, 2) as workers:
        assert eventually(lambda: all("epoch 3\n" in worker.output() for worker in workers))
        workers[1].kill()
        with pytest.raises(WorkerError) as raised:
            workers.wait_for(0)
    assert re.search(
        rf"{PeerLost.__name__}: lost worker 1 \(localhost:\d+\): its process",
        str(raised.value),
    )


def loop_for_ever() -> None:
    import atexit
    import os
    import sys

    import tensorflow as tf

    import tfdml

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())

    @tf.function
    def total(x: tf.Tensor) -> tf.Tensor:
        return strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.identity(x))
        )

    total(tf.constant(1.0))
    print("ready")
    try:
        while True:
            total(tf.constant(1.0))
    except tf.errors.OpError as error:
        atexit.register(lambda: print("at exit"))
        os._exit = lambda status: print("status", status)  # type: ignore[assignment]
        sys.excepthook(type(error), error, error.__traceback__)  # As the end of the script would.


def test_a_loop_of_ones_own_ends_with_the_name_after_its_traceback() -> None:
    with start_workers(loop_for_ever, 2) as workers:
        assert eventually(lambda: all("ready\n" in worker.output() for worker in workers))
        workers[0].kill()
        workers.wait_for(1)
        lines = workers[1].output().strip().splitlines()
    assert any(line.startswith("Traceback") for line in lines), "\n".join(lines)
    print("\n".join(lines))
    (told,) = [i for i, line in enumerate(lines) if line.startswith("error: lost worker 0 (local")]
    assert [line for line in lines[told + 1 :] if line in ("at exit", "status 1")] == [
        "at exit",
        "status 1",
    ]
