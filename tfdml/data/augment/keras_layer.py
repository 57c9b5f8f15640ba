"""A Keras preprocessing layer as a pure function of an image and a seed.

Keras's layers draw from a SeedGenerator in their attribute `generator`, which counts its draws in a
variable: what an image becomes would depend on how many were read before it. Here the generator is one
that makes its seeds out of the image's own, anew for each image.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.errors import ConfigError

# What every layer here is made with. The type is given because under mixed_float16 a layer would
# compute pixels in 16 bits, and the format because a pipeline's images are [height, width, channels].
OPTIONS: dict[str, Any] = {"dtype": "float32", "data_format": "channels_last"}


class RecordSeeds(keras.random.SeedGenerator):
    """The seeds that a layer draws for one record: the first, the second, ... of the record's seed."""

    def __init__(self) -> None:
        super().__init__(seed=0, name="record_seeds")
        self._record_seed: tf.Tensor | None = None
        self._draws = 0

    def start(self, seed: tf.Tensor) -> None:
        """What follows is drawn for the record with this seed (int32 [2])."""
        self._record_seed = seed
        self._draws = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        del ordered
        if self._record_seed is None:
            raise RuntimeError("a layer of KerasLayer was called by itself")
        self._draws += 1
        return seeds.fold(self._record_seed, self._draws)


class KerasLayer:
    """Any layer of keras.layers that changes images at random and draws from its `generator`.

    The layer is the caller's no longer: it cannot be called by itself after this.

        KerasLayer(keras.layers.RandomRotation(0.05, dtype="float32"))

    Raises:
        ConfigError: for something else, among it layers of layers (`Pipeline`, `RandomApply`), whose inner
            layers draw by themselves; `Chain` is there for that.
    """

    def __init__(self, layer: keras.Layer) -> None:
        if not isinstance(layer, keras.Layer) or not hasattr(layer, "transform_images"):
            raise ConfigError(
                f"`layer` must be an image preprocessing layer of keras.layers, got {layer!r}. Put several "
                "into a Chain, each in a KerasLayer of its own."
            )
        if layer.compute_dtype != "float32":
            raise ConfigError(
                f"`layer` must compute in float32, got {layer.compute_dtype} in {layer.name}. Give it "
                "dtype='float32': without, it takes the global policy."
            )
        self._layer = layer
        self._seeds = RecordSeeds()
        # Layers that draw nothing (AutoContrast) have no generator, and need none.
        if hasattr(layer, "generator"):
            layer.generator = self._seeds

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        self._seeds.start(seed)
        return self._layer(image, training=True)

    def __repr__(self) -> str:
        return f"KerasLayer({self._layer.name})"
