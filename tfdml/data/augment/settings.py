"""From the settings of a recipe, numbers and names, to what is done to its training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfdml.data.augment.chain import Augmentation, Chain
from tfdml.data.augment.color import ColorJitter
from tfdml.data.augment.geometry import Flip, PadAndCrop, ResizedCrop
from tfdml.data.augment.pairs import Cutmix, Either, Mixup, Pair
from tfdml.data.augment.rand_augment import RandAugment
from tfdml.errors import ConfigError

_RAND_AUGMENT_OPS = 2


@dataclass(frozen=True)
class ImageAugmentation:
    """What happens to a training image, in this order; nothing by default.

    Attributes:
        resized_crop: a random part of the stored image, resized.
        crop_padding: pixels on each side, out of which the old size is cut at random.
        flip: which directions are mirrored half of the time.
        rand_augment: magnitude of two random changes.
        color_jitter: of brightness, contrast and saturation, and of hue a quarter of it.
        mixup_alpha, cutmix_alpha: of mixing with another image of the batch; with both, each image is
            mixed one way or the other.
    """

    resized_crop: bool = False
    crop_padding: int = 0
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "none"
    rand_augment: float = 0.0
    color_jitter: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.resized_crop and self.crop_padding:
            raise ConfigError(
                f"`resized_crop` and `crop_padding` ({self.crop_padding}) are two ways to crop. Use one: "
                "resized_crop for photographs, crop_padding for small images."
            )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed: then labels are float32 [num_classes], one-hot without mixing."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    def chain(self, height: int, width: int) -> Chain:
        """What is done to one image on its way to `height` x `width` pixels."""
        steps: list[Augmentation] = []
        if self.resized_crop:
            steps.append(ResizedCrop(height, width))
        if self.crop_padding:
            steps.append(PadAndCrop(self.crop_padding))
        if self.flip != "none":
            steps.append(Flip(self.flip))
        if self.rand_augment:
            steps.append(RandAugment(_RAND_AUGMENT_OPS, self.rand_augment))
        if self.color_jitter:
            part = self.color_jitter
            steps.append(ColorJitter(part, part, part, hue=part / 4))
        return Chain(tuple(steps))

    def pair(self, num_classes: int) -> Pair | None:
        """How images are mixed with others of their batch."""
        ways: list[Pair] = []
        if self.mixup_alpha:
            ways.append(Mixup(self.mixup_alpha, num_classes))
        if self.cutmix_alpha:
            ways.append(Cutmix(self.cutmix_alpha, num_classes))
        return Either(*ways) if len(ways) == 2 else (ways[0] if ways else None)
