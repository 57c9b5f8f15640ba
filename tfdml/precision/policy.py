"""The Keras dtype policy of a training, by name."""

from __future__ import annotations

import difflib

import keras
import tensorflow as tf

from tfdml import cluster
from tfdml.errors import ConfigError

# In which dtype weights are kept and in which layers compute: those that the recipes offer, then the rest.
POLICY_NAMES = ("float32", "mixed_bfloat16", "mixed_float16", "float64", "bfloat16", "float16")
_HALF = ("bfloat16", "float16")


def set_policy(name: str) -> None:
    """Make `name` the dtype policy of all layers that are made from now on.

    `mixed_bfloat16` and `mixed_float16` compute in 16 bits and keep float32 weights; with `mixed_float16`,
    `DistributedOptimizer` scales the loss by itself. `bfloat16` and `float16` keep weights in 16 bits too.

    Raises:
        ConfigError: there is no such policy, or it keeps weights in 16 bits and this job has several workers.
    """
    if name not in POLICY_NAMES:
        near = difflib.get_close_matches(str(name), POLICY_NAMES, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"the precision must be one of {', '.join(POLICY_NAMES)}, got {name!r}.{hint}"
        )
    if name in _HALF and cluster.resolve().num_workers > 1:
        raise ConfigError(_refusal(f"precision '{name}'"))
    keras.config.set_dtype_policy(name)


def check_weights(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Refuse weights that are kept in 16 bits where several workers train them.

    Raises:
        ConfigError: names one of them.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    for variable in model.trainable_variables:
        if keras.backend.standardize_dtype(variable.dtype) in _HALF:
            raise ConfigError(_refusal(f"`{variable.path}` of dtype {variable.dtype}"))


def check_policy() -> None:
    """Refuse a global policy that keeps weights in 16 bits; where several workers are to train.

    Raises:
        ConfigError: says why, and what to use.
    """
    name = keras.config.dtype_policy().name
    if name in _HALF:
        raise ConfigError(_refusal(f"precision '{name}'"))


def _refusal(what: str) -> str:
    return (
        f"{what} keeps weights in 16 bits, which several workers cannot train: TensorFlow cannot broadcast bfloat16 "
        "weights at the start, and in 16 bits updates of less than a thousandth of a weight are lost. Use "
        "mixed_bfloat16 or mixed_float16, which keep float32 weights."
    )
