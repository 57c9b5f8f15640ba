"""Changing the size of decoded images, with Pillow: stretch, cover and crop, fit and pad, cut out the middle."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image

from tfdml.errors import ConfigError

_SIZE = re.compile(r"(\d+)x(\d+)(:(?P<mode>stretch|crop|pad))?")


@dataclass(frozen=True)
class Resize:
    """How an image gets another size.

    Attributes:
        height, width: pixels; both equal to the length of the shorter side for the mode "shorter".
        mode: "stretch" changes the aspect ratio; "crop" covers the size and cuts off what sticks out;
            "pad" fits the image in and fills up with black; "shorter" keeps the ratio.
    """

    height: int
    width: int
    mode: str = "stretch"

    @property
    def shape(self) -> tuple[int | None, int | None]:
        return (None, None) if self.mode == "shorter" else (self.height, self.width)

    def scaled(self, image: Image.Image) -> tuple[int, int]:
        """(width, height) to which the image itself is scaled."""
        if self.mode == "stretch":
            return self.width, self.height
        ratios = self.width / image.width, self.height / image.height
        ratio = min(ratios) if self.mode == "pad" else max(ratios)
        width, height = round(image.width * ratio), round(image.height * ratio)
        if self.mode == "pad":
            return max(1, min(width, self.width)), max(1, min(height, self.height))
        return max(width, self.width), max(height, self.height)

    def __call__(self, image: Image.Image) -> Image.Image:
        size = self.scaled(image)
        if image.size != size:
            # Pillow's bilinear filter takes in all pixels when it makes images smaller.
            image = image.resize(size, Image.Resampling.BILINEAR)
        if self.mode == "crop":
            return center_crop(image, self.height, self.width)
        if self.mode == "pad" and image.size != (self.width, self.height):
            padded = Image.new(image.mode, (self.width, self.height))
            left, top = (self.width - image.width) // 2, (self.height - image.height) // 2
            padded.paste(image, (left, top))
            return padded
        return image


def parse_resize(text: str, flag: str) -> Resize:
    """`224x224`, `224x224:crop`, `224x224:pad`, or `256` for the shorter side."""
    if text.isdecimal() and int(text):
        return Resize(int(text), int(text), "shorter")
    match = _SIZE.fullmatch(text)
    if match is None or not (int(match[1]) and int(match[2])):
        raise ConfigError(
            f"{flag}: a size is HEIGHTxWIDTH, such as 224x224, with :crop or :pad behind it to keep the "
            "aspect ratio, or the length of the shorter side."
        )
    return Resize(int(match[1]), int(match[2]), match["mode"] or "stretch")


def parse_size(text: str, flag: str) -> tuple[int, int]:
    """HEIGHTxWIDTH."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not (int(match[1]) and int(match[2])):
        raise ConfigError(f"{flag}: a size is HEIGHTxWIDTH, such as 224x224.")
    return int(match[1]), int(match[2])


def center_crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of the image.

    Raises:
        ValueError: for an image that is smaller.
    """
    if image.height < height or image.width < width:
        raise ValueError(
            f"the image has {image.height}x{image.width} pixels, fewer than the {height}x{width} that are "
            "cut out; use --resize before it"
        )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
