"""Random changes of images that are pure functions of the image and a seed.

An augmentation is `f(image, seed) -> image`: float32 [height, width, channels] with values in [0, 255],
and int32 [2]. It has no state. A Source gives each record of each epoch a seed of its own (`seeds.py`),
so a resumed run, and a run with another number of workers, sees the same images bit for bit.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Augmentation": "chain",
    "Chain": "chain",
    "ColorJitter": "color",
    "Flip": "geometry",
    "ImageAugmentation": "settings",
    "KerasLayer": "keras_layer",
    "PadAndCrop": "geometry",
    "RandAugment": "rand_augment",
    "ResizedCrop": "geometry",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"tfdml.data.augment.{_HOME[name]}"), name)
    raise AttributeError(f"module 'tfdml.data.augment' has no attribute {name!r}")
