"""Layers that lose too much when they compute in 16 bits, and how to keep them in float32.

What Keras 3.15 does under mixed_float16 and mixed_bfloat16 (`tests/precision/test_delicate.py` measures it):

- Losses and metrics compute in float32 whatever they get.
- BatchNormalization, LayerNormalization, GroupNormalization and RMSNormalization compute in float32 inside.
- Softmax and sigmoid are rounded to 16 bits. For a model's output that is too coarse: Keras's loss then takes the
  logarithm of a probability that is rounded to 0 or 1, and its gradient is 0 exactly where the model is most wrong.
- UnitNormalization squares in 16 bits, and Normalization keeps its variance in them: both overflow in float16.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import keras

_log = logging.getLogger("tfdml")

_HALF = ("float16", "bfloat16")
_PROBABILITIES = ("softmax", "log_softmax", "sigmoid", "log_sigmoid")


class Delicate(NamedTuple):
    """A layer that should compute in float32, and why."""

    layer: keras.Layer
    reason: str


def delicate_layers(model: keras.Model) -> list[Delicate]:
    """The layers of `model` that compute in 16 bits and should not.

    It looks into models within the model, and for outputs only where the model knows its layers' order (functional,
    Sequential). Layers of your own are yours to judge.
    """
    found = []
    outputs = _outputs(model)
    for layer in _layers(model):
        if layer.compute_dtype not in _HALF:
            continue
        if isinstance(layer, (keras.layers.UnitNormalization, keras.layers.Normalization)):
            found.append(Delicate(layer, f"keeps squares in {layer.compute_dtype}"))
        elif layer.name in outputs and (name := _probability(layer)):
            reason = f"rounds the model's output, a {name}, to {layer.compute_dtype}"
            found.append(Delicate(layer, reason))
    return found


def keep_float32(model: keras.Model) -> list[str]:
    """Let the `delicate_layers` of `model` compute in float32, and return their names; before `compile`.

    The same as dtype="float32" where each is made; a file of the model keeps it.
    """
    layers = [layer for layer, _ in delicate_layers(model)]
    for layer in layers:
        layer.dtype_policy = "float32"
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            _round_again(layer)
    return [layer.name for layer in layers]


def warn(model: keras.Model) -> None:
    """Log a line for each delicate layer of `model`."""
    for layer, reason in delicate_layers(model):
        _log.warning(
            "layer '%s' %s: make it with dtype='float32', or call tfdml.precision.keep_float32(model) "
            "before compile",
            layer.name,
            reason,
        )


def _round_again(layer: keras.layers.Normalization) -> None:
    """Take mean and variance from where they came from: the layer holds them in the dtype that it had."""
    if layer.input_mean is None:
        layer.finalize_state()
    else:
        layer.build(tuple(layer.mean.shape))


def _layers(model: keras.Layer) -> Iterator[keras.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _outputs(model: keras.Model) -> set[str]:
    """Names of the layers whose outputs are the model's, also of a model that is the last of another."""
    if isinstance(model, keras.Sequential):
        last = model.layers[-1:]
        names = {layer.name for layer in last}
    else:
        names = set(getattr(model, "output_names", None) or ())
    for layer in model.layers:
        if layer.name in names and isinstance(layer, keras.Model):
            names |= _outputs(layer)
    return names


def _probability(layer: keras.Layer) -> str | None:
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return name if name in _PROBABILITIES else None
