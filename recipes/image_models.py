"""Image classifiers: images with values in [0, 255] -> one logit per class.

A model is a function from images [n, height, width, channels] to features [n, d], and a row in FEATURES; what it
can be set to is a class of train_image_classifier.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from image_efficientnet import efficientnet, use_imagenet_weights
from image_resnet import resnet
from image_vit import vit
from keras import layers

Features = Callable[[Any, Any], Any]


def small_cnn(images: Any, settings: Any) -> Any:
    """Three convolutions; for images of some 8 to 64 pixels.

    Smooth everywhere: max pooling and ReLU turn a rounding difference into another gradient, and
    then no two numbers of workers give the same loss curve to more than three digits.
    """
    del settings
    x = layers.Rescaling(1 / 255)(images)
    for filters, strides in ((32, 1), (64, 2), (64, 2)):
        x = layers.Conv2D(filters, 3, strides, padding="same", activation="gelu")(x)
    return layers.Flatten()(x)


FEATURES: dict[str, Features] = {
    "small_cnn": small_cnn,
    "resnet18": partial(resnet, blocks=(2, 2, 2, 2)),
    "resnet34": partial(resnet, blocks=(3, 4, 6, 3)),
    "resnet50": partial(resnet, blocks=(3, 4, 6, 3), bottleneck=True),
    "vit": vit,
    "efficientnet": efficientnet,
}


def build_model(settings: Any, image_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """float32 [n, height, width, channels] in [0, 255] -> float32 logits [n, num_classes].

    Args:
        settings: the section `model` of the configuration.

    Raises:
        ConfigError: the model cannot take images of this size.
    """
    images = keras.Input(image_shape)
    features = FEATURES[settings.name](images, settings)
    if settings.dropout:
        features = layers.Dropout(settings.dropout)(features)
    # Logits stay float32 under mixed precision: a softmax in 16 bits loses small probabilities.
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name=settings.name)


def begin_with_pretrained(model: keras.Model, settings: Any) -> None:
    """Give a model that is to be trained what it begins with, where the settings ask for it.

    Raises:
        ConfigError: the weights cannot be had.
    """
    if settings.name == "efficientnet" and settings.efficientnet.pretrained:
        use_imagenet_weights(model, settings.efficientnet.variant)
