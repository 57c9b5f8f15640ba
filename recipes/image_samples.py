"""Test images with what the model takes them for, to look at in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from PIL import Image, ImageDraw

from tfdml.checkpoint import Position
from tfdml.data import Source
from tfdml.data.order import Slice

_PIXELS = 96  # height and width of a picture; the caption lies below
_CAPTION = 16


def sample_predictions(
    test_data: Source, class_names: Sequence[str], *, most: int = 16
) -> Callable[[keras.Model], Mapping[str, np.ndarray]]:
    """For `tfdml.callbacks.Monitoring(images=...)`: the first test images, below each its class, a wrong one in red.

    Args:
        test_data: batches of (images with values in [0, 255], labels).
    """
    images, labels = next(iter(test_data.dataset(Position(0, 0, 0), Slice(0, 1, 1))))
    images, labels = images[:most], np.asarray(labels)[:most]
    labels = labels if labels.ndim == 1 else labels.argmax(axis=-1)

    def pictures(model: keras.Model) -> Mapping[str, np.ndarray]:
        named = np.asarray(model(images, training=False)).argmax(axis=-1)
        captioned = [
            _captioned(image, class_names[name], class_names[label])
            for image, name, label in zip(np.asarray(images), named, labels, strict=True)
        ]
        return {"predictions": np.stack(captioned)}

    return pictures


def _captioned(image: np.ndarray, named: str, label: str) -> np.ndarray:
    """uint8 [height, width, 3]."""
    values = np.clip(image, 0, 255).astype(np.uint8)
    values = np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values[..., :3]
    picture = Image.new("RGB", (_PIXELS, _PIXELS + _CAPTION), "white")
    picture.paste(Image.fromarray(values).resize((_PIXELS, _PIXELS), Image.Resampling.NEAREST))
    text, colour = (named, "black") if named == label else (f"{named}, not {label}", "red")
    ImageDraw.Draw(picture).text((2, _PIXELS + 2), text, fill=colour)
    return np.asarray(picture)
