"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719): a few changes, drawn from a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import keras
import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.data.augment.chain import Augmentation
from tfdml.data.augment.color import ColorJitter
from tfdml.data.augment.keras_layer import OPTIONS, KerasLayer
from tfdml.errors import ConfigError

_RANGE = (0, 255)


@dataclass(frozen=True)
class RandAugment:
    """Changes an image `num_ops` times, each time in one of 14 ways (13 without colours), all equally likely.

    Each way's strength is drawn uniformly up to its largest in the paper (at M = 10) times `magnitude`.
    Where it has a direction, both are equally likely. The ways are Keras's layers; keras.layers.RandAugment
    is not used, because it computes all of them for every image and keeps two (21 ms for 224 x 224 pixels
    on two cores, where this takes 2).

    Attributes:
        magnitude: in [0, 1].
    """

    num_ops: int = 2
    magnitude: float = 0.5
    _ways: tuple[Augmentation, ...] = field(init=False, repr=False, compare=False)
    _grey_ways: tuple[Augmentation, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.num_ops < 1:
            raise ConfigError(f"`num_ops` must be at least 1, got {self.num_ops}. Use 2.")
        if not 0 <= self.magnitude <= 1:
            raise ConfigError(f"`magnitude` must be in [0, 1], got {self.magnitude}. Use 0.5.")
        grey = (_unchanged, *_geometric(self.magnitude), *_of_values(self.magnitude))
        object.__setattr__(self, "_grey_ways", grey)
        object.__setattr__(self, "_ways", (*grey, ColorJitter(saturation=0.9 * self.magnitude)))

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        shape = image.shape
        ways = self._ways if shape[-1] == 3 else self._grey_ways
        choices = tf.random.stateless_uniform(
            [self.num_ops], seeds.fold(seed, 0), maxval=len(ways), dtype=tf.int32
        )
        for number in range(self.num_ops):
            own_seed = seeds.fold(seed, number + 1)
            branches = [partial(_apply, way, image, own_seed) for way in ways]
            # Only the branch that was drawn is computed.
            image = tf.switch_case(choices[number], branches)
            image = tf.ensure_shape(tf.clip_by_value(image, *_RANGE), shape)
        return image


def _apply(way: Augmentation, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return way(image, seed)


def _unchanged(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    del seed
    return tf.identity(image)


def _geometric(magnitude: float) -> list[Augmentation]:
    layers = keras.layers
    shear, shift = 0.3 * magnitude, 0.45 * magnitude
    return [
        KerasLayer(layer)
        for layer in (
            layers.RandomShear(x_factor=shear, y_factor=0.0, **OPTIONS),
            layers.RandomShear(x_factor=0.0, y_factor=shear, **OPTIONS),
            layers.RandomTranslation(height_factor=0.0, width_factor=shift, **OPTIONS),
            layers.RandomTranslation(height_factor=shift, width_factor=0.0, **OPTIONS),
            layers.RandomRotation(30 / 360 * magnitude, **OPTIONS),
        )
    ]


def _of_values(magnitude: float) -> list[Augmentation]:
    layers = keras.layers
    change = 0.9 * magnitude
    bits = 8 - round(4 * magnitude)
    # 0.5 leaves the image as it is; 0 blurs and 1 sharpens.
    sharpness = (0.5 - change / 2, 0.5 + change / 2)
    return [
        ColorJitter(brightness=change / 2),
        ColorJitter(contrast=change),
        KerasLayer(layers.RandomSharpness(sharpness, value_range=_RANGE, **OPTIONS)),
        KerasLayer(layers.RandomPosterization((bits, 8), value_range=_RANGE, **OPTIONS)),
        _solarize(magnitude),
        KerasLayer(layers.AutoContrast(value_range=_RANGE, **OPTIONS)),
        KerasLayer(layers.Equalization(value_range=_RANGE, **OPTIONS)),
    ]


def _solarize(magnitude: float) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Inverts the values above a threshold, which comes down from 255.

    Keras's Solarization draws its threshold up from 0: there the weakest change inverts the whole image.
    """

    def solarize(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        threshold = 255 * (1 - magnitude * tf.random.stateless_uniform([], seed))
        return tf.where(image <= threshold, image, 255 - image)

    return solarize
