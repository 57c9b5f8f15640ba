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
