"""What an augmentation is, and several of them one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.errors import ConfigError


class Augmentation(Protocol):
    """A pure function of an image and a seed, usable in a graph."""

    def __call__(self, image: tf.Tensor, seed: tf.Tensor, /) -> tf.Tensor:
        """float32 [height, width, channels] in [0, 255] and int32 [2] -> an image like it."""


@dataclass(frozen=True)
class Chain:
    """The augmentations in their order, each with a seed of its own. Without any: the image as it is."""

    steps: tuple[Augmentation, ...]

    def __post_init__(self) -> None:
        for step in self.steps:
            if not callable(step):
                raise ConfigError(
                    f"`steps` must be functions of an image and a seed, got {step!r}. "
                    "Wrap a Keras layer: KerasLayer(layer)."
                )

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for number, step in enumerate(self.steps):
            image = step(image, seeds.fold(seed, number))
        return image
