"""EfficientNet (Tan and Le 2019, arXiv:1905.11946) out of keras.applications, with or without ImageNet's weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
from keras import layers

from tfdml.errors import ConfigError
from tfdml.shared_files import one_process_at_a_time

_SMALLEST = 32  # pixels: it halves them five times

# Of ImageNet, by channel, as parts of 255.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def efficientnet(images: Any, settings: Any) -> Any:
    """Images -> features [n, 1280] for B0, more for the others.

    Args:
        settings: `settings.efficientnet` has the variant, and whether it is to have ImageNet's weights; then grey
            images are shown to it as colours.

    Raises:
        ConfigError: the images are too small.
    """
    options = settings.efficientnet
    height, width, channels = images.shape[1:]
    if min(height, width) < _SMALLEST:
        raise ConfigError(
            f"efficientnet takes images of at least {_SMALLEST} x {_SMALLEST} pixels, got {height} x {width}. "
            f"Set data.image_size to {_SMALLEST} or more, or use another model."
        )
    if options.pretrained:
        images = _as_in_imagenet(images if channels == 3 else layers.Concatenate()([images] * 3))
    return _base(options.variant, weights=None, input_tensor=images).output


def use_imagenet_weights(model: keras.Model, variant: str) -> None:
    """Give an `efficientnet` ImageNet's weights, all but those of the logits; Keras downloads them once.

    Raises:
        ConfigError: they cannot be had.
    """
    # The workers of a host would write one file.
    cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        with one_process_at_a_time(cache / ".efficientnet.lock"):
            trained = _base(variant, weights="imagenet", input_shape=(None, None, 3))
    except Exception as error:  # Keras raises a plain Exception where a download fails
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ConfigError(
            f"the ImageNet weights of EfficientNet{variant} cannot be had: {reason}. Connect this machine, copy the "
            f"file into {cache / 'models'}, or set model.efficientnet.pretrained to false."
        ) from error
    # In their order: the names of some layers have a number in them.
    *own, _ = (layer for layer in model.layers if layer.weights)
    theirs = (layer for layer in trained.layers if layer.weights)
    for layer, source in zip(own, theirs, strict=True):
        layer.set_weights(source.get_weights())


def _base(variant: str, **options: Any) -> keras.Model:
    make = getattr(keras.applications, f"EfficientNet{variant}")
    return make(include_top=False, pooling="avg", **options)


def _as_in_imagenet(images: Any) -> Any:
    """What makes up for a scaling that Keras has in the network only where it loads ImageNet's weights itself.

    There z = (x / 255 - mean) / deviation is divided by the root of the deviation once more; here x is such that
    z comes out so divided.
    """
    scale = [deviation**-0.5 for deviation in _DEVIATION]
    offset = [255 * mean * (1 - each) for mean, each in zip(_MEAN, scale, strict=True)]
    return layers.Rescaling(scale, offset)(images)
