"""Notices when Keras changes the private names that tfdml replaces or calls."""

from __future__ import annotations

import inspect

import keras
import pytest
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.losses import loss as keras_loss

from tfdml.training import keras_batchnorm, keras_losses, keras_random


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_the_loss_functions_that_are_replaced_still_have_these_parameters():
    assert parameters(keras_losses._keras_scale) == ["value"]
    assert parameters(keras_losses._keras_unscale) == ["value"]
    assert parameters(keras_losses._keras_reduce) == parameters(
        keras_losses._reduce_weighted_values
    )


def test_keras_still_calls_the_loss_functions_through_their_module():
    keras_losses.install()
    source = inspect.getsource(keras_trainer.TensorFlowTrainer.train_step)
    assert "loss_module.unscale_loss_for_distribution" in source
    assert "scale_loss_for_distribution(loss)" in inspect.getsource(keras_loss.reduce_values)
    assert "reduce_weighted_values(" in inspect.getsource(keras_loss.Loss.__call__)
    assert keras_loss.reduce_weighted_values is keras_losses._reduce_weighted_values


def test_the_synchronised_moments_are_still_computed_by_the_replaced_function():
    keras_batchnorm.install()
    assert parameters(keras_batchnorm._keras_moments) == ["x", "axes", "keepdims"]
    assert "_compute_moments_sync(x, axes, keepdims)" in inspect.getsource(keras_nn.moments)
    assert keras_nn._compute_moments_sync is keras_batchnorm._synchronized_moments


def test_random_layers_still_draw_seeds_through_next():
    keras_random.install()
    from keras.src.random.seed_generator import draw_seed

    assert "seed.next()" in inspect.getsource(draw_seed)
    assert keras.random.SeedGenerator.next is keras_random._next


@pytest.mark.parametrize("name", ["_symbolic_build", "_flatten_layers"])
def test_the_model_methods_that_are_called_still_exist(name):
    assert callable(getattr(keras.Model, name))


def test_compile_still_records_the_optimizer_where_the_trainer_replaces_it():
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert isinstance(model._compile_config.config["optimizer"], keras.optimizers.SGD)


def test_the_global_seed_generator_is_what_draws_without_a_seed():
    before = keras_random.global_state()
    first = keras.random.uniform((3,)).numpy()
    keras_random.set_global_state(before)
    assert (keras.random.uniform((3,)).numpy() == first).all()
    assert (keras_random.global_state() != before).any()


def test_the_step_that_pulls_weights_does_what_keras_does():
    source = inspect.getsource(keras_trainer.TensorFlowTrainer.train_step)
    for line in (
        "unpack_x_y_sample_weight(data)",
        "self._loss_tracker.update_state(",
        "sample_weight=tf.shape(",
        "self.optimizer.scale_loss(loss)",
        "self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)",
    ):
        assert line in source
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert [type(layer).__name__ for layer in model._flatten_layers(include_self=False)] == [
        "InputLayer",
        "Dense",
    ]
    assert model._loss_tracker.name == "loss"
