"""What the Trainer refuses, each in one sentence that says what to do."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdml
from tfdml.errors import ConfigError, DataError
from tfdml.testing import run_in_process


@pytest.fixture(scope="module")
def strategy():
    return tfdml.strategies.create("one_device")


def make_model(**compiled) -> keras.Model:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(**{"optimizer": "sgd", "loss": "mse"} | compiled)
    return model


def make_data(rows: int = 8) -> tf.data.Dataset:
    x = np.zeros([rows, 4], "float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)


@pytest.fixture(scope="module")
def trainer(strategy):
    with strategy.scope():
        return tfdml.Trainer(make_model(), strategy)


def test_a_model_that_was_built_outside_the_scope(strategy):
    with pytest.raises(ConfigError, match=r"built outside.*dense.*/kernel.*strategy.scope\(\)"):
        tfdml.Trainer(make_model(), strategy)


def test_a_model_of_no_strategy():
    with pytest.raises(ConfigError, match=r"outside of any strategy's scope.*one_device"):
        tfdml.Trainer(make_model())


def test_something_that_is_no_strategy():
    with pytest.raises(ConfigError, match=r"must be a tf\.distribute\.Strategy, got 'mirrored'"):
        tfdml.Trainer(make_model(), "mirrored")


def test_an_optimizer_that_was_made_outside_the_scope(strategy):
    optimizer = keras.optimizers.Adam()
    with strategy.scope():
        model = make_model(optimizer=optimizer)
    with pytest.raises(ConfigError, match=r"optimizer Adam of model .* outside.*scope"):
        tfdml.Trainer(model, strategy)


def test_a_model_that_is_not_compiled(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ConfigError, match=r"is not compiled\. Call model\.compile"):
        tfdml.Trainer(model, strategy)


def test_arrays_instead_of_a_data_set(trainer):
    with pytest.raises(DataError, match=r"got ndarray.*from_tensor_slices"):
        trainer.fit(np.zeros([8, 4]))


def test_a_data_set_that_is_not_batched(trainer):
    data = tf.data.Dataset.from_tensor_slices((np.zeros([8, 4], "f4"), np.zeros(8, "f4")))
    with pytest.raises(DataError, match=r"must yield batches.*\.batch\(global_batch_size\)"):
        trainer.fit(data)


@pytest.mark.parametrize("known", [True, False])
def test_a_data_set_without_a_batch(trainer, known):
    data = make_data().take(0) if known else make_data().filter(lambda x, y: False)
    for use in (trainer.fit, trainer.evaluate, trainer.predict):
        with pytest.raises(DataError, match="no batch"):
            use(data)


@pytest.mark.parametrize("name", ["epochs", "steps_per_epoch"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_counts_that_are_no_counts(trainer, name, value):
    with pytest.raises(ConfigError, match=f"`{name}` must be a whole number of at least 1, got"):
        trainer.fit(make_data(), **{name: value})


def test_a_callback_class_instead_of_an_instance(trainer):
    with pytest.raises(ConfigError, match=r"must hold keras\.callbacks\.Callback instances"):
        trainer.fit(make_data(), callbacks=[keras.callbacks.EarlyStopping])


def test_class_weight_beside_sample_weights(trainer):
    data = make_data().map(lambda x, y: (x, y, y[:, 0]))
    with pytest.raises(ConfigError, match="no sample weights"):
        trainer.fit(data, class_weight={0: 1.0})


def jit_on_two_replicas() -> str:
    strategy = tfdml.strategies.create("mirrored", num_virtual_devices=2)
    with strategy.scope():
        model = make_model(jit_compile=True)
    try:
        tfdml.Trainer(model, strategy)
    except ConfigError as error:
        return str(error)
    return ""


def test_jit_compile_where_it_cannot_work():
    message = run_in_process(jit_on_two_replicas)
    assert "`jit_compile=True` cannot work with 2 replicas" in message
    assert 'jit_compile="auto"' in message


def test_jit_compile_on_one_device_trains(strategy):
    with strategy.scope():
        model = make_model(jit_compile=True)
    history = tfdml.Trainer(model, strategy).fit(make_data(), verbose=False)
    assert np.isfinite(history.history["loss"]).all()


def test_run_eagerly_gives_the_same_weights(strategy):
    weights = []
    for run_eagerly in (False, True):
        keras.utils.set_random_seed(3)
        with strategy.scope():
            model = make_model(run_eagerly=run_eagerly, steps_per_execution=2)
        x = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
        data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)
        tfdml.Trainer(model, strategy).fit(data, epochs=2, verbose=False)
        weights.append(model.get_weights())
    for compiled, eager in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"max_pending_steps": 4}, {"pull_dtype": "bfloat16"}], ids=lambda o: next(iter(o))
)
def test_settings_of_parameter_servers_elsewhere(strategy, options):
    with strategy.scope():
        model = make_model()
    with pytest.raises(ConfigError, match="must be None without parameter servers, got"):
        tfdml.Trainer(model, strategy, **options)
