"""Notices when Keras changes the private names of its optimizers that tfdml touches."""

from __future__ import annotations

import inspect

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.optimizer import TFOptimizer

from tfdml.optimizers import keras_private


def test_keras_still_sums_gradients_through_the_hook_that_is_disabled():
    source = inspect.getsource(TFOptimizer._backend_update_step)
    assert "self._all_reduce_sum_gradients(grads_and_vars)" in source
    optimizer = keras.optimizers.SGD()
    keras_private.disable_own_reduction(optimizer)
    pairs = [(tf.constant(1.0), tf.Variable(0.0))]
    assert optimizer._all_reduce_sum_gradients(pairs) == pairs


def test_the_private_attributes_still_hold_what_they_are_used_for():
    optimizer = keras.optimizers.SGD(use_ema=True)
    variable = keras.Variable([1.0, 2.0])
    optimizer.build([variable])
    assert keras_private.strategy_of(optimizer) is tf.distribute.get_strategy()
    assert keras_private.trainable_variables(optimizer)[0] is variable
    (average,) = keras_private.moving_averages(optimizer)
    assert average.shape == variable.shape
