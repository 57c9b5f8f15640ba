"""D1 and D11: what `model.fit` cannot do under a distribution strategy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.upstream.pinned import still_raises
from tfdml.testing import run_in_process, run_workers

pytestmark = pytest.mark.upstream
TRAINER = "tfdml/training/trainer.py"


def fit_on_workers(skip_symbolic_build):
    import keras
    import tensorflow as tf

    class Model(keras.Sequential):
        def _maybe_symbolic_build(self, *args, **kwargs):
            if not skip_symbolic_build:
                super()._maybe_symbolic_build(*args, **kwargs)

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = Model([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        model.optimizer.build(model.trainable_variables)
    model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, verbose=0)


def fit_mirrored(case):
    import keras
    import tensorflow as tf

    x, y, layers, steps = np.ones((8, 3)), np.ones((8, 1)), [keras.Input((3,))], 1
    if case == "steps_per_execution":
        steps = 2
    elif case == "strings":
        x = np.array([["a"]] * 8)
        layers = [
            keras.Input((1,), dtype="string"),
            keras.layers.StringLookup(vocabulary=["a"], output_mode="multi_hot"),
        ]
    elif case == "indivisible":
        x, y = x[:3], y[:3]
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse", steps_per_execution=steps)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    model.fit(data, verbose=0)


def test_fit_on_two_workers_fails_in_the_symbolic_build():
    with still_raises("D1", TRAINER, match="Attempt to convert a value .*PerReplica"):
        run_workers(fit_on_workers, args=(False,))


def test_fit_on_two_workers_fails_when_it_reduces_metrics():
    with still_raises("D1", TRAINER, match="Invalid reduction dimension 0 for input with 0 dim"):
        run_workers(fit_on_workers, args=(True,))


@pytest.mark.parametrize(
    ("case", "match"),
    [
        ("steps_per_execution", "You must feed a value for placeholder"),
        ("strings", "Value for attr 'T' of string is not in the list of allowed values"),
        ("indivisible", "AddN must have the same size and shape"),
    ],
)
def test_fit_on_two_replicas_fails(case, match):
    with still_raises("D11", TRAINER, match=match):
        run_in_process(fit_mirrored, args=(case,), num_virtual_devices=2)


def test_fit_on_two_replicas_works_otherwise():
    run_in_process(fit_mirrored, args=("plain",), num_virtual_devices=2)
