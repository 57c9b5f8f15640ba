"""LARS and LAMB against the papers' algorithms in NumPy, in float64; and what of it Keras's own Lamb does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.optimizers import Lamb, Lars
from tfdml.optimizers.async_rules import rule_for

STEPS, RATE, DECAY = 7, 0.3, 0.05
NAMES = ("kernel", "bias", "embeddings")


def start() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "kernel": generator.normal(size=(4, 3)),
        "bias": generator.normal(size=3),
        "embeddings": np.zeros((2, 3)),  # a norm of 0 at first
    }


def gradients() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    steps = [{k: generator.normal(size=v.shape) for k, v in start().items()} for _ in range(STEPS)]
    steps[3]["kernel"][:] = 0  # a gradient of norm 0
    return steps


def fraction(numerator: float, denominator: float) -> float:
    return numerator / denominator if numerator > 0 and denominator > 0 else 1.0


def lars(decayed: set[str], adapted: set[str], momentum: float, trust: float) -> dict:
    """You et al. 2017, algorithm 1."""
    weights = start()
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    for step in gradients():
        for name, w in weights.items():
            g, d = step[name], DECAY if name in decayed else 0.0
            rate = RATE
            if name in adapted:
                size = np.linalg.norm(w)
                rate *= trust * fraction(size, np.linalg.norm(g) + d * size)
            velocity[name] = momentum * velocity[name] + rate * (g + d * w)
            weights[name] = w - velocity[name]
    return weights


def lamb(decayed: set[str], adapted: set[str]) -> dict:
    """You et al. 2020, algorithm 2, with phi(z) = z."""
    b1, b2, epsilon = 0.9, 0.999, 1e-6
    weights = start()
    m = {name: np.zeros_like(w) for name, w in weights.items()}
    v = {name: np.zeros_like(w) for name, w in weights.items()}
    for t, step in enumerate(gradients(), 1):
        for name, w in weights.items():
            g, d = step[name], DECAY if name in decayed else 0.0
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            ratio = (m[name] / (1 - b1**t)) / (np.sqrt(v[name] / (1 - b2**t)) + epsilon)
            update = ratio + d * w
            trust = fraction(np.linalg.norm(w), np.linalg.norm(update))
            weights[name] = w - RATE * (trust if name in adapted else 1.0) * update
    return weights


def train(optimizer: keras.optimizers.Optimizer, excluded: tuple[str, ...] = ()) -> dict:
    variables = {name: keras.Variable(v, dtype="float64", name=name) for name, v in start().items()}
    optimizer.exclude_from_weight_decay(var_list=[variables[name] for name in excluded])
    optimizer.build(list(variables.values()))
    for step in gradients():
        optimizer.apply([tf.constant(step[name]) for name in variables])
    return {name: variable.numpy() for name, variable in variables.items()}


def check(result: dict, expected: dict, rtol: float = 1e-9) -> None:
    for name in NAMES:
        np.testing.assert_allclose(result[name], expected[name], rtol=rtol, err_msg=name)


@pytest.fixture(autouse=True)
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")  # of the learning rate
    yield
    keras.config.set_floatx(before)


@pytest.mark.parametrize("decay", [None, DECAY])
@pytest.mark.parametrize("excluded", [(), ("bias",)])
def test_lars_is_the_papers(decay, excluded):
    optimizer = Lars(
        RATE, 0.9, trust_coefficient=0.02, weight_decay=decay, exclude_from_adaptation=excluded
    )
    decayed = set(NAMES) - set(excluded) if decay else set()
    expected = lars(decayed, set(NAMES) - set(excluded), 0.9, 0.02)
    check(train(optimizer, excluded), expected)


@pytest.mark.parametrize("decay", [None, DECAY])
@pytest.mark.parametrize("excluded", [(), ("bias",)])
def test_lamb_is_the_papers(decay, excluded):
    optimizer = Lamb(RATE, weight_decay=decay, exclude_from_adaptation=excluded)
    decayed = set(NAMES) - set(excluded) if decay else set()
    check(train(optimizer, excluded), lamb(decayed, set(NAMES) - set(excluded)))


def test_lamb_of_keras_is_the_papers_without_decay():
    # It rounds its betas to float32, whatever the variables are.
    check(train(keras.optimizers.Lamb(RATE, epsilon=1e-6)), lamb(set(), set(NAMES)), 2e-5)


def test_rows_of_an_embedding_with_a_gradient_are_the_dense_gradient():
    results = []
    for sparse in (False, True):
        variable = keras.Variable(np.ones((4, 2)), dtype="float64", name="embeddings")
        optimizer = Lamb(0.1)
        optimizer.build([variable])
        rows = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]], "float64"), [0, 2], [4, 2])
        optimizer.apply([rows if sparse else tf.convert_to_tensor(rows)])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)


def test_float16_weights_whose_squares_overflow_keep_a_norm():
    variable = keras.Variable(np.full(4, 300.0), dtype="float16", name="kernel")
    optimizer = Lars(1.0, 0.0, trust_coefficient=0.5)
    optimizer.build([variable])
    optimizer.apply([tf.constant([1.0, 0, 0, 0], "float16")])
    # |w| = 600, |g| = 1: the update is 300.
    np.testing.assert_allclose(variable.numpy(), [0.0, 300, 300, 300], atol=0.5)


@pytest.mark.parametrize("make", [Lars, Lamb])
def test_configuration_round_trip(make):
    optimizer = make(
        0.25, weight_decay=0.1, exclude_from_adaptation=["a", "b"], global_clipnorm=2.0
    )
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is make
    assert keras.saving.serialize_keras_object(again) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lars(momentum=1.0), r"`momentum` must be in \[0, 1\), got 1.0"),
        (lambda: Lars(trust_coefficient=0.0), "`trust_coefficient` must be positive, got 0.0"),
        (lambda: Lamb(beta_2=1.5), r"`beta_2` must be in \[0, 1\), got 1.5"),
        (lambda: Lamb(weight_decay=-0.1), "`weight_decay` must be at least 0, got -0.1"),
        (
            lambda: Lamb(exclude_from_adaptation="bias"),
            "`exclude_from_adaptation` must be a list of names of variables, got 'bias'",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("optimizer", [Lars, Lamb])
def test_parameter_servers_refuse_them_by_name(optimizer):
    with pytest.raises(ConfigError, match=f"{optimizer.__name__} has no update for parameter serv"):
        rule_for(optimizer())
