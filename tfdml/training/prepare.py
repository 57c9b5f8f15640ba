"""Check a compiled model and create everything it still lacks, before the first step is traced.

Variables cannot be created inside a distributed step, so model, optimizer and metrics are built here from
the shapes of the data.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfdml import strategies
from tfdml.errors import ConfigError
from tfdml.optimizers import DistributedOptimizer, keras_private
from tfdml.precision import delicate
from tfdml.precision.policy import check_weights
from tfdml.training import keras_losses


def check_strategy(
    model: keras.Model, strategy: tf.distribute.Strategy | None
) -> tf.distribute.Strategy:
    """Return `strategy`, or the one in whose scope `model` was made.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(model, keras.Model):
        raise ConfigError(f"`model` must be a keras.Model, got {type(model).__name__}.")
    if strategy is None:
        strategy = model.distribute_strategy
        if strategy is tf.distribute.get_strategy() and not tf.distribute.has_strategy():
            raise ConfigError(
                f"model '{model.name}' was made outside of any strategy's scope, and no `strategy` was given. "
                'Make it in the scope of tfdml.strategies.create("one_device"), or of another strategy.'
            )
    if not isinstance(strategy, tf.distribute.Strategy):
        raise ConfigError(
            f"`strategy` must be a tf.distribute.Strategy, got {strategy!r}. "
            "Pass what tfdml.strategies.create returned."
        )
    return strategy


def check_model(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Refuse a model that is not compiled, or not built in the scope of `strategy`.

    Raises:
        ConfigError: says which, with the remedy.
    """
    if not model.compiled:
        raise ConfigError(
            f"model '{model.name}' is not compiled. Call model.compile(optimizer=..., loss=...) "
            "inside `with strategy.scope():`."
        )
    remedy = "Move it into the `with strategy.scope():` block."
    for variable in model.variables:
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ConfigError(
                f"model '{model.name}' was built outside the strategy's scope (its variable '{variable.path}' "
                f"was not created in it). {remedy}"
            )
    if model.optimizer is None:
        return
    if not isinstance(model.optimizer, keras.optimizers.Optimizer):
        raise ConfigError(f"the model's optimizer is {model.optimizer!r}, not a Keras optimizer.")
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    for optimizer in (model.optimizer, inner):
        if keras_private.strategy_of(optimizer) is not strategy:
            raise ConfigError(
                f"the optimizer {type(optimizer).__name__} of model '{model.name}' was created outside the "
                f"strategy's scope. {remedy}"
            )


def check_precision(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Warn of layers that lose too much in 16 bits, and refuse weights that several workers cannot train.

    Raises:
        ConfigError: several workers, and weights that are kept in 16 bits.
    """
    check_weights(model, strategy)
    if strategies.is_chief(strategy):
        delicate.warn(model)


def check_jit(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Refuse `jit_compile=True` where it cannot work.

    Raises:
        ConfigError: more than one replica; XLA cannot compile the merge calls and host collectives of a step.
    """
    if model.jit_compile and strategy.num_replicas_in_sync > 1:
        raise ConfigError(
            f"`jit_compile=True` cannot work with {strategy.num_replicas_in_sync} replicas (XLA cannot compile the "
            'gradient exchange). Use model.compile(jit_compile="auto"), which leaves it off here.'
        )


def use_distributed_optimizer(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Wrap the model's optimizer unless it is wrapped, and let saved files hold the inner optimizer.

    A plain Keras optimizer clips, scales and accumulates wrongly with several replicas, so the Trainer never
    uses one as it is. Files written by ModelCheckpoint hold the inner optimizer's class and state, so that they
    load in a process that has no tfdml.
    """
    if model.optimizer is None:
        return
    if not isinstance(model.optimizer, DistributedOptimizer):
        with strategy.scope():
            model.optimizer = _wrap(model.optimizer)
    # `compile` recorded the wrapper; the class in a file comes from the recorded object's type.
    model._compile_config.config["optimizer"] = model.optimizer.inner_optimizer


def _wrap(optimizer: keras.optimizers.Optimizer) -> DistributedOptimizer:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return DistributedOptimizer(
            optimizer.inner_optimizer,
            loss_scale="dynamic",
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
        )
    return DistributedOptimizer(optimizer)


def build(model: keras.Model, strategy: tf.distribute.Strategy, element_spec: Any) -> None:
    """Create the variables of model, optimizer, loss and metrics from the shapes in `element_spec`."""
    with strategy.scope():
        model._symbolic_build(data_batch=tf.nest.map_structure(_as_leaf, element_spec))
    if model._compile_loss is not None:
        for tracker in model._compile_loss.metrics:
            keras_losses.weigh_by_rows(tracker)
    for metric in model.metrics:
        for variable in metric.variables:
            if not strategy.extended.variable_created_in_scope(variable.value):
                raise ConfigError(
                    f"metric '{metric.name}' was created outside the strategy's scope. "
                    "Move it, and `compile`, into the `with strategy.scope():` block."
                )


def _as_leaf(spec: Any) -> Any:
    return spec if hasattr(spec, "dtype") else None  # Keras knows no spec for "nothing"
