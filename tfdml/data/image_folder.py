"""Image files whose directory is their class: `images/cat/1.jpg`, `images/dog/2.png`."""

from __future__ import annotations

import glob
from pathlib import Path

import tensorflow as tf

from tfdml.data.convert import ImageSource
from tfdml.data.image_records import EncodedImage
from tfdml.errors import DataError


def image_folder(pattern: str, name: str) -> ImageSource:
    """The files that match `pattern`; classes are the names of their directories, sorted.

    Files are stored as they are, so nothing is lost to a second compression.

    Raises:
        DataError: when nothing matches; later, for the first file that is no image.
    """
    files = sorted(Path(path) for path in glob.glob(pattern, recursive=True))
    files = [file for file in files if file.is_file()]
    if not files:
        raise DataError(
            f"No file matches {pattern!r}; a pattern looks like 'images/*/*.jpg', in quotes."
        )
    class_names = tuple(sorted({file.parent.name for file in files}))
    number = {class_name: label for label, class_name in enumerate(class_names)}

    def image(index: int) -> EncodedImage:
        encoded = files[index].read_bytes()
        try:
            height, width, channels = tf.io.decode_image(encoded, expand_animations=False).shape
        except tf.errors.InvalidArgumentError as error:
            reason = " ".join(error.message.split()).partition(" [Op")[0]
            raise DataError(f"{files[index]}: no image that can be read ({reason}).") from None
        return EncodedImage(encoded, height, width, channels)

    return ImageSource(name, class_names, [number[file.parent.name] for file in files], image)
