"""Labelled images in records: which features they are, and from bytes to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.errors import DataError

Shape = tuple[int | None, int | None, int]
Example = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class ImageRecords:
    """How the records of an image data set are read.

    Attributes:
        image, label: names of the features.
        shape: (height, width, channels) of the images as they are read; None for sizes that vary.
        class_names: the label i is an image of class_names[i].
    """

    image: str
    label: str
    shape: Shape
    class_names: tuple[str, ...]

    @classmethod
    def of_manifest(cls, manifest: DatasetManifest, where: str) -> ImageRecords:
        """The first image and the first label of a data set; other features are left alone.

        Args:
            where: the data set's name, for messages.

        Raises:
            DataError: it has no image, or no label.
        """
        image = _first(manifest, "image", where)
        label = _first(manifest, "label", where)
        classes = manifest.schema[label].class_names
        if not classes:
            labels = {n for h in manifest.label_histogram.values() for n in h.get(label, {})}
            classes = tuple(str(number) for number in range(max(labels, default=-1) + 1))
        return cls(image, label, readable(manifest.schema[image].shape), classes)

    def parse(self, records: tf.Tensor) -> Example:
        """Serialised records, string [n] -> (encoded images: string [n], labels: int64 [n])."""
        features = {
            self.image: tf.io.FixedLenFeature([], tf.string),
            self.label: tf.io.FixedLenFeature([], tf.int64),
        }
        parsed = tf.io.parse_example(records, features)
        return parsed[self.image], parsed[self.label]

    def decode(self, encoded: tf.Tensor, size: tuple[int, int] | None) -> tf.Tensor:
        """Encoded bytes -> [height, width, channels] in [0, 255]: uint8, or float32 where it was resized.

        Args:
            size: height and width to resize to; None keeps the stored size.
        """
        image = tf.io.decode_image(encoded, channels=self.shape[2], expand_animations=False)
        image.set_shape(self.shape)
        if size is not None and self.shape[:2] != size:
            image = tf.image.resize(image, size, antialias=True)
            image = tf.clip_by_value(image, 0, 255)
        return image


def _first(manifest: DatasetManifest, kind: str, where: str) -> str:
    for name, feature in manifest.schema.items():
        if feature.kind == kind:
            return name
    found = ", ".join(f"{name} ({feature.kind})" for name, feature in manifest.schema.items())
    raise DataError(
        f"{where} is no image classification set: it has the features {found}, and an image and a label "
        "are needed."
    )


def readable(shape: tuple[int | None, ...]) -> Shape:
    """The shape in which stored images are read: colours without alpha, because no classifier wants it."""
    height, width, channels = shape
    return height, width, 1 if channels == 1 else 3
