"""DistributedOptimizer by itself: its arguments, plain model.fit, kinds of gradients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdml
from tfdml.errors import ConfigError
from tfdml.optimizers import DistributedOptimizer
from tfdml.testing import run_in_process

SGD = keras.optimizers.SGD


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DistributedOptimizer("sgd"), "must be a Keras optimizer, got 'sgd'"),
        (
            lambda: DistributedOptimizer(keras.optimizers.LossScaleOptimizer(SGD())),
            "must be a plain Keras optimizer, got LossScaleOptimizer",
        ),
        (
            lambda: DistributedOptimizer(SGD(), compression="int7"),
            r"must be one of none, .*, got 'int7'. Did you mean 'int8'\?",
        ),
        (
            lambda: DistributedOptimizer(SGD(clipnorm=1.0), global_clipnorm=1.0),
            "in one place, got global_clipnorm=1.0, clipnorm=1.0",
        ),
        (lambda: DistributedOptimizer(SGD(), global_clipnorm=-1.0), "must be positive, got -1.0"),
        (lambda: DistributedOptimizer(SGD(), loss_scale="big"), "`loss_scale` must be 'auto'"),
        (
            lambda: DistributedOptimizer(SGD(), gradient_accumulation_steps=0),
            "`gradient_accumulation_steps` must be a whole number of at least 1, got 0",
        ),
        (
            lambda: DistributedOptimizer(
                SGD(gradient_accumulation_steps=2), gradient_accumulation_steps=4
            ),
            "is 4 in DistributedOptimizer and 2 in SGD. Set it in one place",
        ),
        (lambda: DistributedOptimizer(SGD(), bucket_bytes=0), "`bucket_bytes` must be at least 1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_compile_under_mixed_float16_does_not_wrap_it_again():
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        optimizer = DistributedOptimizer(SGD())
        model.compile(optimizer, "mse")
        assert model.optimizer is optimizer
        optimizer.build(model.trainable_variables)
        assert float(optimizer.loss_scale) == 2.0**15
    finally:
        keras.config.set_dtype_policy(with_policy)


def test_config_round_trip():
    optimizer = DistributedOptimizer(
        keras.optimizers.AdamW(0.125), compression="int8", gradient_accumulation_steps=3
    )
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    assert type(again.inner_optimizer) is keras.optimizers.AdamW


def test_plain_model_fit_on_one_device_is_like_keras():
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    weights = []
    for wrap in (lambda o: o, DistributedOptimizer):
        keras.utils.set_random_seed(2)
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
        inner = keras.optimizers.AdamW(
            0.01, gradient_accumulation_steps=2, global_clipnorm=0.5, use_ema=True
        )
        model.compile(wrap(inner), "mse")
        model.fit(x, x[:, :3], batch_size=5, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for plain, wrapped in zip(*weights, strict=True):
        np.testing.assert_allclose(wrapped, plain, rtol=1e-5)


def mixed_dtypes_on_two_replicas() -> list[Any]:
    """Gradients of float32, float64 and float16 variables in one step; upstream's packing fails on them."""
    strategy = tfdml.strategies.create("mirrored", num_virtual_devices=2)
    with strategy.scope():
        variables = [
            keras.Variable(np.zeros(3), dtype=dtype) for dtype in ("float32", "float64", "float16")
        ]
        optimizer = DistributedOptimizer(SGD(1.0))
        optimizer.build(variables)

    @tf.function
    def step() -> None:
        def on_replica() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradients = [tf.cast(replica + 1, v.dtype) * tf.ones(3, v.dtype) for v in variables]
            optimizer.apply(gradients, variables)

        strategy.run(on_replica)

    step()
    return [np.array(v.numpy(), "float64") for v in variables]


def test_gradients_of_several_dtypes_are_summed():
    for value in run_in_process(mixed_dtypes_on_two_replicas):
        np.testing.assert_array_equal(value, -3.0 * np.ones(3))


def clipped_on_two_replicas() -> np.ndarray:
    strategy = tfdml.strategies.create("mirrored", num_virtual_devices=2)
    with strategy.scope():
        variable = keras.Variable(np.zeros(4, "float32"))
        optimizer = DistributedOptimizer(SGD(1.0), global_clipnorm=1.0)
        optimizer.build([variable])

    @tf.function
    def step() -> None:
        def on_replica() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([5.0 * tf.one_hot(replica, 4)], [variable])

        strategy.run(on_replica)

    step()
    return variable.numpy()


def test_the_norm_of_the_sum_is_clipped_not_of_each_part():
    # Clipping each replica's part first gives an update of norm 1.414.
    assert np.linalg.norm(run_in_process(clipped_on_two_replicas)) == pytest.approx(1.0)


def test_a_call_outside_of_a_replica_says_where_to_call_it():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        variable = keras.Variable(np.zeros(2, "float32"))
        optimizer = DistributedOptimizer(SGD())
        optimizer.build([variable])
        with pytest.raises(ConfigError, match="must run on a replica"):
            optimizer.apply([tf.ones(2)], [variable])


def test_no_gradient_at_all():
    variable = keras.Variable(np.zeros(2, "float32"))
    with pytest.raises(ConfigError, match="no variable has a gradient"):
        DistributedOptimizer(SGD()).apply([None], [variable])
