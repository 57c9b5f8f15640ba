"""What augmentations draw: as often, as far and as evenly as they say."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.data.augment.applying import augmented, photographs
from tfdml.data.augment import (
    Chain,
    ColorJitter,
    Flip,
    KerasLayer,
    PadAndCrop,
    RandAugment,
    ResizedCrop,
)
from tfdml.errors import ConfigError

MANY = range(700)


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_images_are_mirrored_half_of_the_time_in_each_direction(mode):
    image = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    flips = augmented(Flip(mode), image, ids=MANY)
    outcomes = {"none": image, "horizontal": image[:, :, ::-1], "vertical": image[:, ::-1]}
    outcomes["horizontal_and_vertical"] = image[:, ::-1, ::-1]
    parts = {name: (flips == one).all((1, 2, 3)).mean() for name, one in outcomes.items()}
    possible = outcomes if "and" in mode else ("none", mode)
    assert sum(parts.values()) == 1
    for name in possible:
        assert abs(parts[name] - 1 / len(possible)) < 0.09  # five standard deviations


def test_crops_are_at_every_place_equally_often():
    image = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    crops = augmented(PadAndCrop(1), image, ids=MANY)[..., 0]
    padded = np.pad(image[0, ..., 0], 1)
    places = [padded[y : y + 3, x : x + 3] for y in range(3) for x in range(3)]
    counts = [int((crops == place).all((1, 2)).sum()) for place in places]
    assert sum(counts) == len(crops)
    expected = len(crops) / 9
    assert sum((count - expected) ** 2 / expected for count in counts) < 26  # chi^2(8), p = 0.001


def test_resized_crops_have_the_areas_and_ratios_asked_for():
    # Each pixel of this image says where it is, so a crop's corners say what was cut out.
    y, x = np.mgrid[:100, :100].astype(np.float32)
    image = np.stack([y, x, 0 * x], axis=-1)[None] * 2
    crops = augmented(ResizedCrop(50, 50, area=(0.2, 0.5)), image, ids=range(300)) / 2
    height = (crops[:, -1, 0, 0] - crops[:, 0, 0, 0]) * 50 / 49
    width = (crops[:, 0, -1, 1] - crops[:, 0, 0, 1]) * 50 / 49
    area, ratio = height * width / 100**2, width / height
    assert area.min() > 0.18 and area.max() < 0.52
    assert ratio.min() > 0.70 and ratio.max() < 1.40
    assert abs(np.median(area) - 0.35) < 0.05
    assert abs(np.median(np.log(ratio))) < 0.1
    assert len(np.unique(np.round(crops[:, 0, 0, 0]))) > 20


def test_color_jitter_is_symmetric_and_within_its_limits():
    grey = np.full((1, 4, 4, 1), 100, np.float32)
    change = augmented(ColorJitter(brightness=0.2), grey, ids=MANY)[:, 0, 0, 0] - 100
    assert -51 <= change.min() < -48 and 48 < change.max() <= 51
    assert abs(change.mean()) < 4

    steps = np.array([80, 120], np.float32).reshape(1, 1, 2, 1)
    factor = np.diff(augmented(ColorJitter(contrast=0.4), steps, ids=MANY)[:, 0, :, 0])[:, 0] / 40
    assert 0.6 <= factor.min() < 0.63 and 1.37 < factor.max() <= 1.401
    assert abs(factor.mean() - 1) < 0.03


def test_saturation_and_hue_against_their_definitions():
    pixel = np.array([[[[200, 100, 100]]]], np.float32)
    red, green, blue = augmented(ColorJitter(saturation=0.5), pixel, ids=MANY)[:, 0, 0].T
    np.testing.assert_allclose(green, blue, rtol=1e-5)
    np.testing.assert_allclose(red, 200, rtol=1e-4)
    scale = (red - green) / 100
    assert 0.5 <= scale.min() < 0.53 and 1.45 < scale.max() <= 1.501

    turned = augmented(ColorJitter(hue=1 / 6), pixel, ids=MANY)[:, 0, 0]
    np.testing.assert_allclose(turned.max(1), 200, rtol=1e-4)  # value and saturation stay
    np.testing.assert_allclose(turned.min(1), 100, rtol=1e-4)
    # A sixth of the circle from red is yellow one way, where green is 200, and magenta the other.
    assert turned[:, 1].max() > 195 and turned[:, 2].max() > 195
    assert (turned[:, 0] > 199.9).all()


def test_grey_images_keep_one_channel():
    grey = photographs(8, 16, 16, channels=1)
    jitter = ColorJitter(saturation=0.5, hue=0.5)
    np.testing.assert_array_equal(augmented(jitter, grey), grey)


@pytest.mark.slow
def test_rand_augment_of_grey_images():
    grey = photographs(8, 16, 16, channels=1)
    strong = augmented(RandAugment(3, 1.0), grey)
    assert strong.shape == grey.shape and (strong != grey).any((1, 2, 3)).mean() > 0.7


@pytest.mark.slow
def test_rand_augment_draws_all_its_ways_equally():
    image = photographs(1, 16, 16)
    augmentation = RandAugment(num_ops=1, magnitude=0.0)
    # Without strength what remains changed is contrast stretched to the ends, or equalised.
    drawn = augmented(augmentation, np.clip(image, 60, 180), ids=range(600))
    changed = (np.abs(drawn - np.clip(image, 60, 180)) > 5).any((1, 2, 3))
    assert abs(changed.mean() - 2 / 14) < 0.07

    strong = augmented(RandAugment(2, 1.0), image, ids=range(200))
    assert ((np.abs(strong - image) > 5).any((1, 2, 3))).mean() > 0.8


@pytest.mark.slow
def test_strength_grows_with_magnitude():
    images = photographs(100, 16, 16)
    changes = [
        np.abs(augmented(RandAugment(1, magnitude), images) - images).mean()
        for magnitude in (0.1, 0.5, 1.0)
    ]
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip("sideways"), "`mode` must be one of horizontal, vertical"),
        (lambda: PadAndCrop(0), "`padding` must be at least 1 pixel, got 0"),
        (lambda: ResizedCrop(0, 8), "`height` and `width` must be at least 1 pixel, got 0 and 8"),
        (lambda: ResizedCrop(8, 8, area=(0.5, 0.1)), r"`area` must be .* got \(0.5, 0.1\)"),
        (lambda: ResizedCrop(8, 8, aspect_ratio=(0, 1)), "`aspect_ratio` must be two positive"),
        (lambda: ColorJitter(hue=0.6), r"`hue` must be in \[0, 0.5\], got 0.6"),
        (lambda: ColorJitter(contrast=-1), r"`contrast` must be in \[0, 1\], got -1"),
        (lambda: RandAugment(0), "`num_ops` must be at least 1"),
        (lambda: RandAugment(2, 1.5), r"`magnitude` must be in \[0, 1\], got 1.5"),
        (lambda: Chain((3,)), "got 3. Wrap a Keras layer"),
        (lambda: KerasLayer(keras.layers.Dense(3)), "must be an image preprocessing layer"),
        (lambda: KerasLayer(keras.layers.Pipeline([])), "Put several into a Chain"),
        (
            lambda: KerasLayer(keras.layers.RandomFlip(dtype="float16")),
            "must compute in float32, got float16",
        ),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
