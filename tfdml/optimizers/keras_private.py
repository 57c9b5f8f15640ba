"""The private names of `keras.optimizers` that tfdml touches, all in this module.

`tests/optimizers/test_keras_private.py` notices when upstream changes them.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def disable_own_reduction(optimizer: keras.optimizers.Optimizer) -> None:
    """Make `optimizer` take the gradients it is given as they are.

    Keras sums gradients inside the update, after clipping each replica's own part (so the clipped norm is
    wrong) and after the loss-scale check (so replicas disagree about skipping). DistributedOptimizer has
    summed them before; here the sum becomes the identity.
    """
    optimizer._all_reduce_sum_gradients = _identity


def _identity(grads_and_vars: Any) -> list[Any]:
    return list(grads_and_vars)


def strategy_of(optimizer: keras.optimizers.Optimizer) -> tf.distribute.Strategy:
    """The strategy in whose scope `optimizer` was constructed."""
    return optimizer._distribution_strategy


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The EMA variables of a built optimizer, in the order of the variables it was built with."""
    return optimizer._model_variables_moving_average


def trainable_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables that a built optimizer was built with."""
    return optimizer._trainable_variables


def slots(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable, names: tuple[str, ...]
) -> list[keras.Variable]:
    """The slot variables of `variable` in the lists `names` of a built optimizer (`_accumulators`, ...).

    Keras keeps them in lists of its own, in the order of the variables; there is no public way to one.
    """
    index = index_of(optimizer, variable)
    return [getattr(optimizer, name)[index] for name in names]


def index_of(optimizer: keras.optimizers.Optimizer, variable: keras.Variable | tf.Variable) -> int:
    """The place of `variable`, or of one replica's part of it, among those the optimizer was built with."""
    return optimizer._get_variable_index(variable)


def may_decay(optimizer: keras.optimizers.Optimizer, variable: tf.Variable) -> bool:
    """Whether `exclude_from_weight_decay` left `variable`, or one replica's part of it, in."""
    return optimizer._use_weight_decay(variable)


def weight_decay(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> float:
    """The decoupled weight decay of `variable`, 0 where it has none or was excluded."""
    decay = optimizer.weight_decay
    return decay if decay and optimizer._use_weight_decay(variable.value) else 0.0
