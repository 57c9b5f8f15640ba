"""Flips and crops of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import keras
import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.data.augment.keras_layer import OPTIONS, KerasLayer
from tfdml.errors import ConfigError

FlipMode = Literal["horizontal", "vertical", "horizontal_and_vertical"]
_FLIP_MODES = ("horizontal", "vertical", "horizontal_and_vertical")


@dataclass(frozen=True)
class Flip:
    """Mirrors every second image; with both directions, each by a draw of its own."""

    mode: FlipMode = "horizontal"
    _layers: tuple[KerasLayer, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in _FLIP_MODES:
            raise ConfigError(f"`mode` must be one of {', '.join(_FLIP_MODES)}, got {self.mode!r}.")
        # One layer a direction: a layer with both turns an image by 180 degrees or not at all.
        directions = self.mode.split("_and_")
        layers = (KerasLayer(keras.layers.RandomFlip(name, **OPTIONS)) for name in directions)
        object.__setattr__(self, "_layers", tuple(layers))

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for number, layer in enumerate(self._layers):
            image = layer(image, seeds.fold(seed, number))
        return image


@dataclass(frozen=True)
class PadAndCrop:
    """Adds `padding` black pixels on each side and cuts out the old size at a random place.

    All (2 padding + 1)^2 places are equally likely.
    """

    padding: int

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise ConfigError(
                f"`padding` must be at least 1 pixel, got {self.padding}. For no crop, leave it out."
            )

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        sides = [self.padding, self.padding]
        padded = tf.pad(image, [sides, sides, [0, 0]])
        # Not Keras's RandomCrop, which must know the size before it sees an image.
        crop = tf.image.stateless_random_crop(padded, tf.shape(image), seed)
        return tf.ensure_shape(crop, image.shape)


@dataclass(frozen=True)
class ResizedCrop:
    """A random part of the image, resized to `height` x `width` pixels: the crop of Inception and ResNet.

    The image may have any size. Of it, a part with an area in `area` (fractions of the image) and an
    aspect ratio in `aspect_ratio` is taken; where ten draws fit none, the whole image. Keras has no such
    layer.
    """

    height: int
    width: int
    area: tuple[float, float] = (0.08, 1.0)
    aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ConfigError(
                f"`height` and `width` must be at least 1 pixel, got {self.height} and {self.width}."
            )
        low, high = self.area
        if not 0 < low <= high <= 1:
            raise ConfigError(
                f"`area` must be two fractions in (0, 1], the smaller first, got {self.area}. "
                "Use (0.08, 1.0)."
            )
        low, high = self.aspect_ratio
        if not 0 < low <= high:
            raise ConfigError(
                f"`aspect_ratio` must be two positive numbers, the smaller first, got {self.aspect_ratio}. "
                "Use (0.75, 1.33)."
            )

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            bounding_boxes=tf.zeros([1, 0, 4]),
            seed=seed,
            min_object_covered=0.0,
            area_range=self.area,
            aspect_ratio_range=self.aspect_ratio,
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        part = tf.slice(image, begin, tf.concat([size[:2], tf.shape(image)[2:]], axis=0))
        part.set_shape([None, None, image.shape[-1]])
        # Antialiasing, because a whole photograph shrinks several times.
        return tf.image.resize(tf.cast(part, tf.float32), [self.height, self.width], antialias=True)
