"""Keras models: every variable goes into a snapshot and back, and weights alone go into a plain model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checkpoint.jobs import at
from tfdml.checkpoint import Contents, Snapshots, load_weights, model_sections, named
from tfdml.checkpoint.encoding import host_array
from tfdml.errors import DataError


def make_model(units=3, compiled=True, policy="float32"):
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(units, dtype=policy),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ]
    )
    if compiled:
        model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
        x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        model.fit(x, np.zeros((8, units)), verbose=0)
    return model


def values(variables):
    return [np.asarray(variable.numpy()).tobytes() for variable in variables]


@pytest.fixture
def saved(tmp_path):
    model = make_model()
    sections = model_sections(model) | {"metrics": named(model.metrics_variables)}
    assert Snapshots(tmp_path).save(at(1), Contents(arrays=sections)).saved
    return tmp_path, model


def test_a_model_continues_as_if_nothing_had_happened(saved):
    directory, model = saved
    other = make_model()
    other.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    restored = Snapshots(directory).restore()
    restored.load_model(other)
    assert values(other.weights) == values(model.weights)
    assert values(other.optimizer.variables) == values(model.optimizer.variables)
    assert values(v for v in other.variables if "seed" in v.path) == values(
        v for v in model.variables if "seed" in v.path
    )
    assert len(restored.chief.arrays("metrics")) == len(model.metrics_variables) > 0
    for each in (model, other):
        each.fit(np.ones((8, 4)), np.zeros((8, 3)), verbose=0)
    assert values(other.variables) == values(model.variables), "dropout goes on with its own bits"


def test_weights_alone_go_into_a_plain_model(saved):
    directory, model = saved
    plain = make_model(compiled=False)
    seed = values(v for v in plain.variables if "seed" in v.path)
    assert load_weights(plain, directory) == at(1)
    assert values(plain.weights) == values(model.weights)
    assert values(v for v in plain.variables if "seed" in v.path) == seed
    (one,) = directory.glob("snapshot-*")
    assert load_weights(make_model(compiled=False), one) == at(1)


def test_the_first_variable_that_does_not_fit_is_named(saved):
    directory, _ = saved
    plain = make_model(units=5, compiled=False)
    before = values(plain.weights)
    with pytest.raises(
        DataError, match=r"variable 0 is '.*kernel' float32\[4, 5\] here and '.*kernel' .*\[4, 3\]"
    ):
        load_weights(plain, directory)
    assert values(plain.weights) == before, "nothing was set"
    half = make_model(compiled=False, policy=keras.DTypePolicy("bfloat16"))
    with pytest.raises(
        DataError, match=r"variable 0 is .* bfloat16\[4, 3\] here and .* float32\[4, 3\] there"
    ):
        load_weights(half, directory)
    short = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(
        DataError, match=r"variable 2 is not there here and '.*gamma' float32\[3\] there"
    ):
        load_weights(short, directory)
    mixed = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(scale=False),
        ]
    )
    with pytest.raises(DataError, match=r"variable 2 is '.*beta' float32\[3\] here and '.*gamma'"):
        load_weights(mixed, directory)


def test_another_optimizer_is_named(saved):
    directory, _ = saved
    other = make_model()
    other.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    other.optimizer.build(other.trainable_variables)
    before = values(other.variables)
    with pytest.raises(DataError, match="is of another model: variable"):
        Snapshots(directory).restore().load_model(other)
    assert values(other.variables) == before
    Snapshots(directory).restore().load_model(other, optimizer=False)
    assert values(other.variables) != before


def test_where_there_is_no_snapshot(tmp_path):
    with pytest.raises(DataError, match=r"holds no snapshot\. Give the directory that was passed"):
        load_weights(make_model(compiled=False), tmp_path)


@pytest.mark.parametrize(
    "dtype",
    ["bfloat16", "float16", "float64", "int8", "uint8", "int64", "bool", "complex64", "string"],
)
def test_variables_of_tensorflow_keep_dtype_and_bits(tmp_path, dtype):
    given = tf.constant([[b"a", b""]]) if dtype == "string" else tf.cast([[1, 0, 1]], dtype)
    variable, scalar = tf.Variable(given), tf.Variable(given[0, 0])
    snapshots = Snapshots(tmp_path)
    snapshots.save(at(1), Contents(arrays={"a": {"v": variable, "s": scalar, "t": given}}))
    found = snapshots.restore().chief.arrays("a")
    other = tf.Variable(tf.zeros_like(variable))
    other.assign(found["v"])
    np.testing.assert_array_equal(other.numpy(), variable.numpy())
    assert found["s"].shape == () and found["t"].tobytes() is not None
    assert tf.constant(found["t"]).dtype == variable.dtype


def test_reading_a_variable_takes_no_copy():
    variable = keras.Variable(np.arange(6.0))
    tensor = variable.value.read_value()
    assert np.shares_memory(host_array(variable), np.asarray(tensor))
    np.testing.assert_array_equal(host_array(variable), np.arange(6.0))


def test_updates_after_begin_do_not_reach_the_snapshot(tmp_path):
    variable = keras.Variable(np.ones(2_000_000, "float32"))
    snapshots = Snapshots(tmp_path)
    snapshots.begin(at(1), Contents(arrays={"a": {"v": variable}}))
    for _ in range(20):
        variable.assign_add(np.ones(2_000_000, "float32"))
    assert snapshots.wait().saved
    assert np.unique(snapshots.restore().chief.arrays("a")["v"]) == [1.0]
