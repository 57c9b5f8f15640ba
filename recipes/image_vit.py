"""A small vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), of Keras's own layers."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfdml.errors import ConfigError


def vit(images: Any, settings: Any) -> Any:
    """Images -> features [n, width]: the mean of all patches (Beyer et al. 2022, arXiv:2205.01580, section 2).

    Args:
        settings: `settings.vit` has patch size, width, depth and heads; `settings.dropout` applies in its blocks.

    Raises:
        ConfigError: the patches do not cover the images exactly.
    """
    options = settings.vit
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = _patches(x, options.patch_size)
    # A bias of its own for each patch is what a learned embedding of its position is (equation 1).
    x = layers.EinsumDense(
        "npi,io->npo",
        output_shape=(x.shape[1], options.width),
        bias_axes="po",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="patches_and_positions",
    )(x)
    for _ in range(options.depth):
        x = _block(x, options, settings.dropout)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return layers.GlobalAveragePooling1D()(x)


def _patches(images: Any, size: int) -> Any:
    """[n, height, width, channels] -> [n, patches, size * size * channels]."""
    height, width, channels = images.shape[1:]
    if height % size or width % size:
        fits = [n for n in range(1, min(height, width) + 1) if not (height % n or width % n)]
        near = min(fits, key=lambda n: abs(n - size))
        raise ConfigError(
            f"`model.vit.patch_size` must divide the height and width of the images, {height} x {width} pixels, "
            f"got {size}. Use {near}, or set data.image_size to a multiple of {size}."
        )
    rows, columns = height // size, width // size
    x = layers.Reshape((rows, size, columns, size, channels))(images)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((rows * columns, size * size * channels))(x)


def _block(x: Any, options: Any, dropout: float) -> Any:
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.MultiHeadAttention(options.heads, options.width // options.heads)(y, y)
    x = layers.Add()([x, layers.Dropout(dropout)(y) if dropout else y])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(4 * options.width, activation="gelu")(y)
    y = layers.Dense(options.width)(y)
    return layers.Add()([x, layers.Dropout(dropout)(y) if dropout else y])
