"""From a recipe's configuration to the optimizer that it trains with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from tfdml.optimizers.distributed import DistributedOptimizer
from tfdml.optimizers.lamb import Lamb
from tfdml.optimizers.lars import Lars
from tfdml.optimizers.learning_rate import learning_rate_plan

if TYPE_CHECKING:
    from tfdml.config.schema import OptimizerConfig

_KERAS = {
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adagrad": keras.optimizers.Adagrad,
    "ftrl": keras.optimizers.Ftrl,
}


def from_config(
    config: OptimizerConfig,
    *,
    global_batch_size: int,
    total_steps: int | None = None,
    staleness_damping: float = 0.0,
    ema_momentum: float | None = None,
) -> DistributedOptimizer:
    """The optimizer of `config`, wrapped so that it is right with any number of replicas; in the strategy's scope.

    Args:
        config: the section `optimizer` of a recipe.
        global_batch_size: examples per step, over all replicas.
        total_steps: of the whole training; see `learning_rate_plan`, whose `str()` is what there is to print.
        staleness_damping: on parameter servers; see `DistributedOptimizer`.
        ema_momentum: keep moving averages of the weights, which `keras.callbacks.SwapEMAWeights` evaluates and which
            the model has after `fit`.

    Raises:
        ConfigError: settings that do not go together, or not with the strategy.
    """
    plan = learning_rate_plan(config, global_batch_size=global_batch_size, total_steps=total_steps)
    return DistributedOptimizer(
        _wrapped(config, plan.build(), _averaging(ema_momentum)),
        compression={"name": config.compression, **config.compression_options},
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        global_clipnorm=config.global_clipnorm,
        loss_scale=config.loss_scale,
        initial_scale=config.initial_loss_scale,
        dynamic_growth_steps=config.loss_scale_growth_steps,
        min_scale=config.min_loss_scale,
        max_scale=config.max_loss_scale,
        max_skipped_steps=config.max_skipped_steps,
        exclude_from_weight_decay=config.exclude_from_weight_decay,
        staleness_damping=staleness_damping,
    )


def _averaging(ema_momentum: float | None) -> dict[str, Any]:
    return {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}


def _wrapped(
    config: OptimizerConfig, learning_rate: Any, averaging: dict[str, Any]
) -> keras.optimizers.Optimizer:
    decay, unadapted = config.weight_decay, config.exclude_from_adaptation
    if config.name == "lars":
        return Lars(
            learning_rate,
            config.momentum,
            trust_coefficient=config.trust_coefficient,
            weight_decay=decay,
            exclude_from_adaptation=unadapted,
            **averaging,
        )
    if config.name == "lamb":
        return Lamb(
            learning_rate, weight_decay=decay, exclude_from_adaptation=unadapted, **averaging
        )
    options = {"momentum": config.momentum} if config.name == "sgd" else {}
    return _KERAS[config.name](learning_rate, weight_decay=decay, **options, **averaging)
