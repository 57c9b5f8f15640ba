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


def test_slots_are_still_in_lists_in_the_order_of_the_variables():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    for optimizer, names in (
        (keras.optimizers.SGD(momentum=0.9), ("momentums",)),
        (keras.optimizers.Adagrad(), ("_accumulators",)),
        (keras.optimizers.Adam(), ("_momentums", "_velocities")),
        (keras.optimizers.Ftrl(), ("_accumulators", "_linears")),
    ):
        optimizer.build(variables)
        for variable in variables:
            slots = keras_private.slots(optimizer, variable, names)
            assert [slot.shape for slot in slots] == [variable.shape] * len(names)
            assert all(any(slot is v for v in optimizer.variables) for slot in slots)


def test_the_weight_decay_of_one_variable():
    excluded, decayed = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[excluded])
    optimizer.build([excluded, decayed])
    assert keras_private.weight_decay(optimizer, excluded) == 0
    assert keras_private.weight_decay(optimizer, decayed) == 0.1
    source = inspect.getsource(TFOptimizer._apply_weight_decay)
    assert "variable.assign_sub(variable * wd * lr)" in source  # what the rules do in a locked op
