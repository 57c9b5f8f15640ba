"""Images: decoded once, resized, cropped, and encoded once."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfdml.data.format.features import Schema
from tfdml.data.stages.pixels import Resize, center_crop
from tfdml.data.stages.simple import OneFeature
from tfdml.data.stages.stage import feature_of
from tfdml.errors import ConfigError

QUALITY = 95


@dataclass(frozen=True)
class TransformImage(OneFeature):
    """New pixels or a new encoding for an image; grey images stay grey, and palettes become colours.

    Attributes:
        resize, crop: what happens to the pixels, in this order; crop is (height, width).
        encoding: "png", "jpeg", or "" for that of each image (PNG for other formats).
        quality: of a JPEG.
    """

    feature: str
    resize: Resize | None = None
    crop: tuple[int, int] | None = None
    encoding: str = ""
    quality: int = QUALITY

    def schema(self, schema: Schema) -> Schema:
        flag = "resize" if self.resize else "center_crop" if self.crop else "encode"
        feature = feature_of(schema, self.feature, flag, ("image",))
        height, width, channels = feature.shape
        if self.resize:
            height, width = self.resize.shape
        if self.crop:
            self._check_crop(height, width)
            height, width = self.crop
        encoding = self.encoding or feature.encoding
        if encoding == "jpeg" and channels == 4:
            channels = 3  # a JPEG has no alpha
        changed = replace(feature, shape=(height, width, channels), encoding=encoding)
        return {**schema, self.feature: changed}

    def _check_crop(self, height: int | None, width: int | None) -> None:
        assert self.crop is not None
        if self.resize and self.resize.mode == "shorter":
            height, width = self.resize.height, self.resize.width
        if (height or self.crop[0]) < self.crop[0] or (width or self.crop[1]) < self.crop[1]:
            raise ConfigError(
                f"--center_crop={self.feature}:{self.crop[0]}x{self.crop[1]} is larger than the images, "
                f"which have {height}x{width} pixels then."
            )

    def change(self, value: bytes) -> bytes:
        with _opened(value) as image:
            encoding = self.encoding or {"JPEG": "jpeg"}.get(str(image.format), "png")
            if self.resize and image.format == "JPEG":
                # Decoding may go down to twice the size that is wanted: faster for photographs.
                width, height = self.resize.scaled(image)
                image.draft(None, (2 * width, 2 * height))
            image = _plain(image)
        if self.resize:
            image = self.resize(image)
        if self.crop:
            image = center_crop(image, *self.crop)
        if encoding == "jpeg" and image.mode == "RGBA":
            image = image.convert("RGB")
        file = io.BytesIO()
        options = {"quality": self.quality} if encoding == "jpeg" else {}
        image.save(file, encoding, **options)
        return file.getvalue()

    def describe(self) -> dict[str, Any]:
        done: dict[str, Any] = {"stage": "TransformImage", "feature": self.feature}
        if self.resize:
            done["resize"] = asdict(self.resize)
        if self.crop:
            done["center_crop"] = list(self.crop)
        done["encoding"] = self.encoding or "as before"
        if self.encoding != "png":
            done["quality"] = self.quality
        return done


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("no image of a known format") from None
    except Exception as error:
        raise ValueError(f"the image is damaged ({error})") from None


def _plain(image: Image.Image) -> Image.Image:
    """The decoded image as L, RGB or RGBA."""
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        what = "truncated" if "truncated" in str(error).lower() else f"damaged ({error})"
        raise ValueError(f"the image is {what}") from None
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow would cut values off at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    has_alpha = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")
