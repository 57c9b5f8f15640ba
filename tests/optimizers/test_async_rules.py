"""Asynchronous rules against Keras's own updates, and what they refuse; no cluster, one thread."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.optimizers import DistributedOptimizer
from tfdml.optimizers.async_rules import increment, rule_for

opt = keras.optimizers
OPTIMIZERS = {
    "sgd": lambda: opt.SGD(0.1),
    "momentum": lambda: opt.SGD(0.1, momentum=0.9),
    "nesterov": lambda: opt.SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda: opt.Adagrad(0.1),
    # Where epsilon stands matters: TensorFlow's AdagradV2 gives something else here.
    "adagrad_from_zero": lambda: opt.Adagrad(0.1, initial_accumulator_value=0.0, epsilon=0.1),
    "adam": lambda: opt.Adam(0.1),
    "adam_exact": lambda: opt.Adam(0.1, beta_1=0.75, beta_2=0.875, epsilon=0.1),
    "adamw": lambda: opt.AdamW(0.1, weight_decay=0.1),
    "sgd_decay": lambda: opt.SGD(0.1, weight_decay=0.1),
    "ftrl": lambda: opt.Ftrl(0.1),
    "ftrl_all": lambda: opt.Ftrl(
        0.1,
        learning_rate_power=-0.7,
        l1_regularization_strength=0.02,
        l2_regularization_strength=0.03,
        l2_shrinkage_regularization_strength=0.04,
        beta=0.5,
    ),
    "clipvalue": lambda: opt.SGD(0.1, clipvalue=0.5),
    "clipnorm": lambda: opt.Adam(0.1, clipnorm=0.5),
    "global_clipnorm": lambda: opt.Adagrad(0.1, global_clipnorm=0.5),
}
STEPS = 20
SHAPES = [(3, 4), (4,)]


def gradients(step: int) -> list[tf.Tensor]:
    random = np.random.default_rng(step)
    return [tf.constant(random.normal(size=shape), "float32") for shape in SHAPES]


def built(make) -> tuple[opt.Optimizer, list[keras.Variable]]:
    random = np.random.default_rng(1000)
    variables = [keras.Variable(random.normal(size=shape), dtype="float32") for shape in SHAPES]
    optimizer = make()
    optimizer.build(variables)
    return optimizer, variables


def by_rule(optimizer, variables):
    """One update, compiled, as a worker makes it."""
    rule = rule_for(optimizer)

    @tf.function
    def step(grads):
        number = increment(optimizer.iterations)
        rate = tf.convert_to_tensor(optimizer.learning_rate)
        for gradient, variable in zip(rule.clip(grads), variables, strict=True):
            rule.apply(gradient, variable, step=number, learning_rate=rate)

    return step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_dense_updates_are_those_of_keras(name):
    """To the rounding of float32, and for Adam so where 1 - beta is exact.

    Else Keras takes 1 - beta_2 = 0.001 and TensorFlow's op 1 - float32(0.999) = 0.00100005, which is 5e-5 more.
    """
    ours, variables = built(OPTIMIZERS[name])
    keras_optimizer, expected = built(OPTIMIZERS[name])
    step = by_rule(ours, variables)
    for number in range(STEPS):
        step(gradients(number))
        keras_optimizer.apply(gradients(number), expected)
    inexact = isinstance(ours, opt.Adam) and name != "adam_exact"
    tolerance = 5e-5 if inexact else 2e-6
    for mine, theirs in zip(
        [*variables, *ours.variables], [*expected, *keras_optimizer.variables], strict=True
    ):
        np.testing.assert_allclose(
            mine.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance / 5, err_msg=theirs.path
        )
    assert int(ours.iterations.numpy()) == STEPS


def test_a_constant_gradient_is_counted_exactly():
    gradient = [tf.fill(shape, 0.375) for shape in SHAPES]
    sgd, variables = built(lambda: opt.SGD(2.0**-6))
    first = [variable.numpy() for variable in variables]
    adagrad, others = built(lambda: opt.Adagrad(0.1, initial_accumulator_value=0.5))
    steps = by_rule(sgd, variables), by_rule(adagrad, others)
    for variable, value in zip(variables, first, strict=True):
        variable.assign(np.round(value * 64) / 64)
    first = [variable.numpy() for variable in variables]
    for _ in range(300):
        for step in steps:
            step(gradient)
    for variable, before in zip(variables, first, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before - 300 * 0.375 * 2.0**-6)
    for slot in adagrad.variables[2:]:
        np.testing.assert_array_equal(slot.numpy(), np.float32(300 * 0.375**2 + 0.5))
    assert int(sgd.iterations.numpy()) == int(adagrad.iterations.numpy()) == 300


def test_increment_numbers_its_calls():
    counter = keras.Variable(0, dtype="int64")
    numbers = [int(increment(counter)) for _ in range(3)]
    assert numbers == [1, 2, 3] and int(counter.numpy()) == 3


class Quiet(opt.Adam):
    """Of a user's own, without another update."""


class Louder(opt.Adam):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(2 * gradient, variable, learning_rate)


def test_a_subclass_is_taken_only_where_it_updates_alike():
    assert rule_for(Quiet()).slots == rule_for(opt.Adam()).slots
    with pytest.raises(ConfigError, match="Louder has no update for parameter servers"):
        rule_for(Louder())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: opt.Lion(),
            r"^Lion has no update for parameter servers .* Use one of SGD \(with momentum and nesterov too\), "
            "Adagrad, Adam, AdamW, Ftrl, or a synchronous strategy.$",
        ),
        (lambda: opt.Adam(amsgrad=True), "Adam has amsgrad=True, which keeps a maximum"),
        (lambda: opt.SGD(use_ema=True), "SGD has use_ema=True, .* Leave `use_ema` out"),
        (
            lambda: opt.SGD(gradient_accumulation_steps=4),
            "SGD has gradient_accumulation_steps=4, which adds",
        ),
        (
            lambda: DistributedOptimizer(opt.SGD()),
            "got DistributedOptimizer around SGD. Pass its `inner_optimizer`",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        rule_for(make())


def test_refused_when_applied():
    rate = tf.constant(0.1)
    one = tf.constant(1, tf.int64)
    variable = keras.Variable(np.zeros((3, 2)))
    with pytest.raises(ConfigError, match=r"SGD is not built, .* Call `optimizer.build"):
        rule_for(opt.SGD()).apply(tf.zeros((3, 2)), variable, step=one, learning_rate=rate)
    rows = tf.IndexedSlices(tf.ones((1, 2)), [1], [3, 2])
    optimizer = opt.AdamW(weight_decay=0.1)
    optimizer.build([variable])
    with pytest.raises(ConfigError, match=r"AdamW has weight_decay=0.1, which changes all rows"):
        rule_for(optimizer).apply(rows, variable, step=one, learning_rate=rate)
    optimizer = opt.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[variable])
    optimizer.build([variable])
    rule_for(optimizer).apply(rows, variable, step=one, learning_rate=rate)
    assert np.all(variable.numpy()[[0, 2]] == 0) and np.all(variable.numpy()[1] != 0)
    layer = keras.layers.Dense(2, kernel_constraint="non_neg")
    layer.build((None, 3))
    optimizer = opt.SGD()
    optimizer.build([layer.kernel])
    with pytest.raises(ConfigError, match=r"`dense.*/kernel` has a constraint"):
        rule_for(optimizer).apply(tf.zeros((3, 2)), layer.kernel, step=one, learning_rate=rate)
