"""Brightness, contrast, saturation and hue, changed a little."""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.data.augment.keras_layer import OPTIONS, KerasLayer
from tfdml.errors import ConfigError

_RANGE = (0, 255)


@dataclass(frozen=True)
class ColorJitter:
    """Changes brightness, then contrast, saturation and hue, each by its own uniform draw.

    Saturation and hue are of images with three channels; others they leave alone.

    Attributes:
        brightness: up to this part of 255 is added or taken away, in [0, 1].
        contrast: distances from the mean grow or shrink by up to this part, in [0, 1].
        saturation: the same of the colour's distance from grey, in [0, 1].
        hue: up to this part of the colour circle, in [0, 0.5].
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    _grey: tuple[KerasLayer, ...] = field(init=False, repr=False, compare=False)
    _color: tuple[KerasLayer, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ConfigError(
                    f"`{name}` must be in [0, {limit:g}], got {getattr(self, name)}. Usual is 0.1 to 0.4."
                )
        # Four layers, and not Keras's RandomColorJitter: that has one `value_range` for all, and see
        # _saturation.
        layers = keras.layers
        grey: list[keras.Layer] = []
        color: list[keras.Layer] = []
        if self.brightness:
            grey.append(layers.RandomBrightness(self.brightness, value_range=_RANGE, **OPTIONS))
        if self.contrast:
            # Both sides: a single number c is [1, 1 + c] in Keras.
            both = (self.contrast, self.contrast)
            grey.append(layers.RandomContrast(both, value_range=_RANGE, **OPTIONS))
        if self.saturation:
            color.append(_saturation(self.saturation))
        if self.hue:  # in halves of the circle
            color.append(layers.RandomHue(2 * self.hue, value_range=_RANGE, **OPTIONS))
        object.__setattr__(self, "_grey", tuple(map(KerasLayer, grey)))
        object.__setattr__(self, "_color", tuple(map(KerasLayer, color)))

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        layers = self._grey + self._color if image.shape[-1] == 3 else self._grey
        for number, layer in enumerate(layers):
            image = layer(image, seeds.fold(seed, number))
        return image


def _saturation(part: float) -> keras.Layer:
    # The layer multiplies by f / (1 - f). Its value range limits the saturation itself, which is in [0, 1]
    # whatever the range of the pixels; with (0, 255) pixels come out at -105.
    low, high = (scale / (1 + scale) for scale in (1 - part, 1 + part))
    return keras.layers.RandomSaturation((low, high), value_range=(0, 1), **OPTIONS)
