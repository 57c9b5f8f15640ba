"""Updates for parameter servers that lose nothing when several workers change one variable at once.

Keras reads a variable, computes, and writes (D5 of docs/keras-defects.md): what another worker wrote in between is
gone. A rule says the same update in ops that TensorFlow runs under the variable's lock, on the device that holds it,
so that only the gradient crosses the network.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.optimizers.async_rules_base import AsyncRule
from tfdml.optimizers.async_rules_kinds import (
    AdagradRule,
    AdamRule,
    FtrlRule,
    GradientDescentRule,
    MomentumRule,
)

__all__ = ["AsyncRule", "increment", "rule_for"]

SUPPORTED = "SGD (with momentum and nesterov too), Adagrad, Adam, AdamW, Ftrl"

# By the class whose `update_step` an optimizer runs: AdamW inherits Adam's, and so may a class of the user's.
_RULES: dict[Any, type[AsyncRule]] = {
    keras.optimizers.SGD: GradientDescentRule,
    keras.optimizers.Adagrad: AdagradRule,
    keras.optimizers.Adam: AdamRule,
    keras.optimizers.Ftrl: FtrlRule,
}

# What Keras does by reading a variable and writing it afterwards, beside the update itself.
_REFUSED = {
    "amsgrad": "keeps a maximum that no locked op updates",
    "use_ema": "averages weights by reading and then writing them",
    "gradient_accumulation_steps": "adds gradients up by reading and then writing them",
}


def rule_for(optimizer: keras.optimizers.Optimizer) -> AsyncRule:
    """The rule that updates as `optimizer` does.

    `clipvalue`, `clipnorm` and `global_clipnorm` limit each worker's own gradient (`AsyncRule.clip`). `weight_decay`
    works for variables whose gradient is dense. A learning-rate schedule is the caller's: `apply` takes the rate.

    Args:
        optimizer: SGD, Adagrad, Adam, AdamW or Ftrl of Keras, or a subclass that keeps `apply` and `update_step`.
            The optimizer inside of a wrapper (LossScaleOptimizer, DistributedOptimizer), not the wrapper.

    Raises:
        ConfigError: there is no rule for this optimizer, or not with one of its settings.
    """
    name = type(optimizer).__name__
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        raise ConfigError(
            f"`optimizer` must be the one that updates, got {name} around {type(inner).__name__}. "
            "Pass its `inner_optimizer`."
        )
    kind = _kind(optimizer)
    if kind is None:
        raise ConfigError(
            f"{name} has no update for parameter servers that several workers can run at once without losing "
            f"some. Use one of {SUPPORTED}, or a synchronous strategy."
        )
    for setting, reason in _REFUSED.items():
        if getattr(optimizer, setting, None):
            raise ConfigError(
                f"{name} has {setting}={getattr(optimizer, setting)}, which {reason}, so on parameter servers "
                f"updates would be lost. Leave `{setting}` out, or use a synchronous strategy."
            )
    if kind is GradientDescentRule and optimizer.momentum != 0:
        kind = MomentumRule
    return kind(optimizer)


def _kind(optimizer: keras.optimizers.Optimizer) -> type[AsyncRule] | None:
    actual: Any = type(optimizer)
    for known, kind in _RULES.items():
        if (
            isinstance(optimizer, known)
            and actual.update_step is known.update_step
            and actual.apply is known.apply
        ):
            return kind
    return None


def increment(counter: keras.Variable) -> tf.Tensor:
    """Add 1 to a counter in one locked op, and return what it became.

    Of n calls, by whichever workers, each gets another number: 1 to n, where the counter began at 0. (`assign_add` of
    a `tf.Variable` loses nothing either, but what it returns is read afterwards, perhaps after others have added.)

    Args:
        counter: an int32 or int64 scalar variable on a CPU device, such as `optimizer.iterations`.

    Returns:
        A scalar of the counter's dtype, on the counter's device.
    """
    variable = counter.value
    with tf.device(variable.handle.device):
        before = tf.raw_ops.ResourceCountUpTo(
            resource=variable.handle, limit=variable.dtype.max, T=variable.dtype
        )
        return before + 1
