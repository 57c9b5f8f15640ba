"""Settings -> augmentations: what is made, in which order, and what is refused."""

from __future__ import annotations

import pytest

from tfdml.data.augment import ImageAugmentation
from tfdml.data.augment.pairs import Cutmix, Either, Mixup
from tfdml.errors import ConfigError


def test_nothing_by_default():
    assert ImageAugmentation().chain(8, 8).steps == ()
    assert ImageAugmentation().pair(10) is None
    assert not ImageAugmentation().mixes


def test_all_of_it_in_order():
    settings = ImageAugmentation(
        crop_padding=2, flip="horizontal", rand_augment=0.5, color_jitter=0.4
    )
    steps = settings.chain(8, 8).steps
    assert [type(step).__name__ for step in steps] == [
        "PadAndCrop",
        "Flip",
        "RandAugment",
        "ColorJitter",
    ]
    assert steps[3].brightness == 0.4 and steps[3].hue == 0.1
    (crop,) = ImageAugmentation(resized_crop=True).chain(8, 12).steps
    assert (crop.height, crop.width) == (8, 12)


def test_pairs():
    assert ImageAugmentation(mixup_alpha=0.2).pair(10) == Mixup(0.2, 10)
    assert ImageAugmentation(cutmix_alpha=1.0).pair(10) == Cutmix(1.0, 10)
    both = ImageAugmentation(mixup_alpha=0.2, cutmix_alpha=1.0)
    assert both.pair(3) == Either(Mixup(0.2, 3), Cutmix(1.0, 3)) and both.mixes


def test_one_crop_at_most():
    with pytest.raises(ConfigError, match=r"two ways to crop\. Use one"):
        ImageAugmentation(resized_crop=True, crop_padding=4)
