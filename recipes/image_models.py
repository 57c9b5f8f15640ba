"""Image classifiers: images with values in [0, 255] -> one logit per class."""

from __future__ import annotations

import keras
from keras import layers

Shape = tuple[int, int, int]


def small_cnn(image_shape: Shape, num_classes: int, dropout: float) -> keras.Model:
    """Three convolutions; for images of some 8 to 64 pixels.

    Smooth everywhere: max pooling and ReLU turn a rounding difference into another gradient, and
    then no two numbers of workers give the same loss curve to more than three digits.
    """
    inputs = keras.Input(image_shape)
    x = layers.Rescaling(1 / 255)(inputs)
    for filters, strides in ((32, 1), (64, 2), (64, 2)):
        x = layers.Conv2D(filters, 3, strides, padding="same", activation="gelu")(x)
    return _classify(inputs, layers.Flatten()(x), num_classes, dropout)


def resnet18(image_shape: Shape, num_classes: int, dropout: float) -> keras.Model:
    """ResNet-18 (He et al. 2015, table 1); images under 64 pixels skip the stem's two halvings."""
    inputs = keras.Input(image_shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    if min(image_shape[:2]) < 64:
        x = _convolution(x, 64, kernel_size=3)
    else:
        x = _convolution(x, 64, kernel_size=7, strides=2)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, filters in enumerate((64, 128, 256, 512)):
        x = _residual_block(x, filters, strides=1 if stage == 0 else 2)
        x = _residual_block(x, filters)
    return _classify(inputs, layers.GlobalAveragePooling2D()(x), num_classes, dropout)


MODELS = {"small_cnn": small_cnn, "resnet18": resnet18}


def _classify(inputs, features, num_classes: int, dropout: float) -> keras.Model:
    if dropout:
        features = layers.Dropout(dropout)(features)
    # Logits stay float32 under mixed precision: a softmax in 16 bits loses small probabilities.
    return keras.Model(inputs, layers.Dense(num_classes, dtype="float32")(features))


def _residual_block(x, filters: int, strides: int = 1):
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _convolution(x, filters, kernel_size=1, strides=strides, activation=None)
    x = _convolution(x, filters, strides=strides)
    x = _convolution(x, filters, activation=None)
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _convolution(x, filters: int, *, kernel_size=3, strides=1, activation: str | None = "relu"):
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.Activation(activation)(x) if activation else x
