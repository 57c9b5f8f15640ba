"""The same model in layers that Keras alone has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfdml.layers import ShardedEmbedding


def plain(model: keras.Model) -> keras.Model:
    """A copy of a functional model in which each `ShardedEmbedding` is a `keras.layers.Embedding` of the same rows.

    Regularisers of rows are left out. The copy belongs to no strategy; its weights are those of now.
    """

    def convert(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, ShardedEmbedding):
            return keras.layers.Embedding(
                layer.input_dim, layer.output_dim, name=layer.name, dtype=layer.dtype_policy
            )
        if isinstance(layer, keras.Model):
            return plain(layer)
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=convert)
    for old, new in zip(model.layers, copy.layers, strict=True):
        if isinstance(old, ShardedEmbedding):
            new.set_weights([_table(old)])
        elif not isinstance(old, keras.Model):  # whose weights are there already
            new.set_weights(old.get_weights())
    return copy


def foreign_names(model: keras.Model) -> Iterator[str]:
    """Classes and functions in the model's description that a process with Keras alone does not have."""
    yield from _foreign(keras.saving.serialize_keras_object(model))


def _table(layer: ShardedEmbedding) -> np.ndarray:
    table = np.empty([layer.input_dim, layer.output_dim], layer.variable_dtype)
    for number, shard in enumerate(layer.shards):
        table[number :: layer.num_shards] = shard.numpy()
    return table


def _foreign(described: Any) -> Iterator[str]:
    if isinstance(described, Mapping):
        module, name = described.get("module"), described.get("class_name")
        if "module" in described and name and not str(module).startswith("keras"):
            yield str(described.get("registered_name") or f"{module}.{name}")
        for value in described.values():
            yield from _foreign(value)
    elif isinstance(described, list | tuple):
        for value in described:
            yield from _foreign(value)
