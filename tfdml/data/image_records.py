"""One labelled image as a TFRecord: features named as in TensorFlow's Model Garden."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}


@dataclass(frozen=True)
class EncodedImage:
    """An image file's bytes (PNG, JPEG, GIF or BMP), its size in pixels, and its channels."""

    encoded: bytes
    height: int
    width: int
    channels: int


def serialise(image: EncodedImage, label: int) -> bytes:
    """A `tf.train.Example` with the image, its size and its class."""
    feature = {
        "image/encoded": _bytes(image.encoded),
        "image/height": _int(image.height),
        "image/width": _int(image.width),
        "image/class/label": _int(label),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A serialised record -> (encoded image: string scalar, label: int64 scalar)."""
    features = tf.io.parse_single_example(record, _FEATURES)
    return features["image/encoded"], features["image/class/label"]


def decode(
    encoded: tf.Tensor, shape: tuple[int | None, int | None, int], image_size: int | None
) -> tf.Tensor:
    """Encoded bytes -> float32 [height, width, channels] in [0, 255], resized to `image_size`."""
    image = tf.io.decode_image(encoded, channels=shape[2], expand_animations=False)
    image.set_shape(shape)
    if image_size is not None and shape[:2] != (image_size, image_size):
        image = tf.image.resize(image, [image_size, image_size], antialias=True)
    return tf.cast(image, tf.float32)


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
