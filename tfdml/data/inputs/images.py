"""Image files as they come: whether one decodes, and what the images of a set have in common. Pillow only."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfdml.data.format.features import Feature
from tfdml.data.inputs.jpeg import whole_jpeg
from tfdml.data.inputs.png import whole_png
from tfdml.errors import ConfigError

# Once for the process, because changing filters for each image takes longer than reading its header:
# what Pillow warns of is either an error here or none. Large images are not an attack.
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = 1 << 29

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")

# What tf.io.decode_image reads; other formats need --encode.
_READ_BY_TENSORFLOW = frozenset(("JPEG", "PNG", "BMP", "GIF"))
_END_OF_PNG = b"IEND\xaeB`\x82"
_TOO_LARGE = 1 << 29  # values; the limit of tf.io.decode_image
_CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I": 1, "LA": 4, "RGBA": 4, "PA": 4}


class Header(NamedTuple):
    format: str  # "JPEG", "PNG", ...
    height: int
    width: int
    channels: int  # 1, 3 or 4


def read_header(data: bytes) -> Header:
    """Format and size of an encoded image, without decoding it.

    Raises:
        ValueError: for what is no image.
    """
    with _open(data) as image:
        return _header(image)


def check_image(data: bytes, *, any_format: bool = False) -> Header:
    """Decode an image to see that it is whole.

    Args:
        any_format: take what TensorFlow cannot read, because the image will be encoded again.

    Raises:
        ValueError: for an image that is empty, truncated, damaged, or of a format not to be stored.
    """
    if header := _header_of_whole(data):
        _check_size(header)
        return header
    with _open(data) as image:
        header = _header(image)
        if not any_format and header.format not in _READ_BY_TENSORFLOW:
            raise ValueError(
                f"a {header.format} image, which TensorFlow does not read; store it as PNG or JPEG with "
                "--encode"
            )
        _check_size(header)
        if header.format == "PNG" and _END_OF_PNG not in data:
            raise ValueError("the image is truncated")
        # All of a JPEG is read, but an eighth of each side is computed.
        image.draft(None, (1, 1))
        try:
            image.load()
        except Exception as error:  # OSError, SyntaxError, struct.error, ...
            raise ValueError(_reason(error)) from None
    return header


def _header_of_whole(data: bytes) -> Header | None:
    """Nearly all images, without Pillow."""
    if (png := whole_png(data)) is not None:
        return Header("PNG", *png)
    if (jpeg := whole_jpeg(data)) is not None:
        return Header("JPEG", *jpeg)
    return None


def _check_size(header: Header) -> None:
    if header.height * header.width * header.channels >= _TOO_LARGE:
        raise ValueError(
            f"the image has {header.height}x{header.width} pixels, more than TensorFlow decodes"
        )


def _open(data: bytes) -> Image.Image:
    if not data:
        raise ValueError("the file is empty")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("no image of a known format") from None
    except Exception as error:
        raise ValueError(_reason(error)) from None


def _header(image: Image.Image) -> Header:
    channels = _CHANNELS.get(image.mode, 3)
    if image.mode == "P" and "transparency" in image.info:
        channels = 4
    return Header(str(image.format), image.height, image.width, channels)


def _reason(error: Exception) -> str:
    if "truncated" in str(error).lower():
        return "the image is truncated"
    return f"the image is damaged ({str(error) or type(error).__name__})"


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of uint8 [height, width] or [height, width, 1, 3 or 4]; the same bytes for the same pixels."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def parse_image_shape(text: str) -> tuple[int | None, int | None, int] | None:
    """--image_shape: HEIGHTxWIDTHxCHANNELS."""
    if not text:
        return None
    sizes = text.split("x")
    if len(sizes) != 3 or not all(size.isdecimal() or size == "?" for size in sizes):
        raise ConfigError(f"--image_shape={text}: it is HEIGHTxWIDTHxCHANNELS, such as 28x28x1.")
    height, width, channels = (None if size == "?" else int(size) for size in sizes)
    if channels not in (1, 3, 4):
        raise ConfigError(f"--image_shape={text}: an image has 1, 3 or 4 channels.")
    return height, width, channels


def image_feature(headers: Iterable[Header], image_shape: str = "") -> Feature:
    """What a set is declared as, from some of its images.

    It gets the larger number of channels: decoding repeats a grey image's one channel. Sizes are left
    open, because those of the other images are not known; `image_shape` promises them. PNG and JPEG
    side by side count as JPEG, which readers do not care about: they look into the file.
    """
    headers = list(headers)
    shape = parse_image_shape(image_shape)
    channels = shape[2] if shape else max((header.channels for header in headers), default=3)
    if any(header.format == "JPEG" for header in headers):
        encoding, channels = "jpeg", min(channels, 3)
    else:
        encoding = "png"
    return Feature(
        "image", shape=(*(shape[:2] if shape else (None, None)), channels), encoding=encoding
    )


def fits(header: Header, feature: Feature) -> None:
    """Refuse an image that is not what the set was declared as.

    Raises:
        ValueError: for another size, or colour where all images are said to be grey.
    """
    height, width, channels = feature.shape
    if height not in (None, header.height) or width not in (None, header.width):
        raise ValueError(
            f"the image is {header.height}x{header.width} pixels, not {height or '?'}x{width or '?'}"
        )
    if channels == 1 and header.channels > 1:
        raise ValueError(
            "the image has colours, and the images looked at first are grey; say "
            "--image_shape=?x?x3 if colours are wanted"
        )
