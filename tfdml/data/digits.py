"""scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download.

Their origin: Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak; UCI, 1998).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfdml.data.convert import ImageSource, convert_images
from tfdml.data.image_records import EncodedImage
from tfdml.data.manifest import FILE_NAME
from tfdml.errors import DataError
from tfdml.shared_files import one_process_at_a_time

TEST_FRACTION = 0.2
NUM_SHARDS = 4


def digits() -> ImageSource:
    """The digits as grey PNG images."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "The digits come with scikit-learn, which is not installed. "
            "Run: pip install 'tfdml[recipes]'."
        ) from None
    bunch = load_digits()
    # Stored as 0 to 16, one level per ink dot of a 4x4 block.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]

    def image(index: int) -> EncodedImage:
        return EncodedImage(tf.io.encode_png(pixels[index]).numpy(), *pixels[index].shape)

    return ImageSource("digits", tuple("0123456789"), bunch.target.tolist(), image)


def prepare_digits(data_dir: Path) -> Path:
    """The directory of the shards, converted now if nobody has; many processes may call at once."""
    directory = data_dir / "digits"
    if (directory / FILE_NAME).exists():  # needs no lock, so data_dir may be read-only from now on
        return directory
    try:
        with one_process_at_a_time(data_dir / ".digits.lock"):
            if not (directory / FILE_NAME).exists():
                convert_images(
                    digits(), directory, num_shards=NUM_SHARDS, test_fraction=TEST_FRACTION
                )
    except OSError as error:
        raise DataError(
            f"The digits cannot be written to {directory}: {error.strerror or error}. "
            "Set data.data_dir to a directory that can be written."
        ) from None
    return directory
