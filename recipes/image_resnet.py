"""ResNet-18, 34 and 50 (He et al. 2015, arXiv:1512.03385, table 1), for small images too."""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import layers

_SMALL = 64  # pixels: smaller images skip the two halvings of the paper's stem
_BOTTLENECK = 4  # filters that come out of a block of ResNet-50, for each that is in it


def resnet(
    images: Any, settings: Any, *, blocks: tuple[int, int, int, int], bottleneck: bool = False
) -> Any:
    """Images -> features [n, 8 * width], or [n, 32 * width] with bottlenecks.

    Args:
        settings: `settings.resnet` has the width, the stem and how batches are normalised.
        blocks: how many each of the four stages has.
        bottleneck: blocks are of 1x1, 3x3 and 1x1 convolutions; the 3x3 one has the stride (Goyal et al. 2017,
            arXiv:1706.02677, section 5.1).
    """
    options = settings.resnet
    convolution = partial(_convolution, synchronized=options.synchronized_batch_norm)
    block = _bottleneck if bottleneck else _basic
    small = min(images.shape[1:3]) < _SMALL if options.stem == "auto" else options.stem == "small"
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    if small:
        x = convolution(x, options.width)
    else:
        x = convolution(x, options.width, kernel_size=7, strides=2)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, count in enumerate(blocks):
        for number in range(count):
            strides = 2 if stage and not number else 1
            x = block(convolution, x, options.width * 2**stage, strides)
    return layers.GlobalAveragePooling2D()(x)


def _basic(convolution: Any, x: Any, filters: int, strides: int) -> Any:
    y = convolution(x, filters, strides=strides)
    y = convolution(y, filters, activation=None)
    return _joined(convolution, x, y, strides)


def _bottleneck(convolution: Any, x: Any, filters: int, strides: int) -> Any:
    y = convolution(x, filters, kernel_size=1)
    y = convolution(y, filters, strides=strides)
    y = convolution(y, filters * _BOTTLENECK, kernel_size=1, activation=None)
    return _joined(convolution, x, y, strides)


def _joined(convolution: Any, x: Any, y: Any, strides: int) -> Any:
    if x.shape != y.shape:
        x = convolution(x, y.shape[-1], kernel_size=1, strides=strides, activation=None)
    return layers.ReLU()(layers.Add()([y, x]))


def _convolution(
    x: Any,
    filters: int,
    *,
    synchronized: bool,
    kernel_size: int = 3,
    strides: int = 1,
    activation: str | None = "relu",
) -> Any:
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=synchronized)(x)
    return layers.Activation(activation)(x) if activation else x
