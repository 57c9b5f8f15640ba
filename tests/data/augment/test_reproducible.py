"""An augmented image depends on its seed alone: not on its batch, its neighbours, or what came before."""

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

AUGMENTATIONS = {
    "flip": lambda: Flip("horizontal_and_vertical"),
    "pad_and_crop": lambda: PadAndCrop(3),
    "resized_crop": lambda: ResizedCrop(12, 10),
    "color_jitter": lambda: ColorJitter(0.2, 0.3, 0.4, 0.1),
    "rand_augment": lambda: RandAugment(2, 0.7),
    "keras_layer": lambda: KerasLayer(keras.layers.RandomRotation(0.1, dtype="float32")),
    "chain": lambda: Chain((PadAndCrop(2), Flip(), ColorJitter(0.1))),
}
IMAGES = photographs(24, 16, 20)


SLOW_TO_TRACE = ("rand_augment", "color_jitter", "keras_layer")


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_TRACE else ())
        for name in AUGMENTATIONS
    ],
    scope="module",
)
def made(request):
    augmentation = AUGMENTATIONS[request.param]()
    return request.param, augmentation, augmented(augmentation, IMAGES)


def test_the_same_bits_in_any_batch_order_and_process_of_reading(made):
    name, augmentation, images = made
    np.testing.assert_array_equal(augmented(augmentation, IMAGES, batched=5), images)
    reversed_ids = np.arange(len(IMAGES))[::-1]
    np.testing.assert_array_equal(augmented(augmentation, IMAGES, ids=reversed_ids)[::-1], images)
    # Resumed: another object, and only the records that were left.
    np.testing.assert_array_equal(
        augmented(AUGMENTATIONS[name](), IMAGES, ids=range(17, 24)), images[17:]
    )


def test_other_bits_in_another_epoch_and_with_another_seed(made):
    _, augmentation, images = made
    for other in ({"epoch": 1}, {"source_seed": 1}):
        changed = (augmented(augmentation, IMAGES, **other) != images).any((1, 2, 3))
        assert changed.mean() > 0.4


def test_values_stay_in_range_and_type(made):
    _, _, images = made
    assert images.dtype == np.float32
    assert images.min() >= -0.01 and images.max() <= 255.01


def test_a_global_policy_of_16_bits_changes_nothing(made):
    name, _, images = made
    if name == "keras_layer":
        return
    keras.config.set_dtype_policy("mixed_float16")
    try:
        np.testing.assert_array_equal(augmented(AUGMENTATIONS[name](), IMAGES), images)
    finally:
        keras.config.set_dtype_policy("float32")
