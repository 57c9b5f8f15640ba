"""D17: image augmentation layers that draw or change something else than they say."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.upstream.pinned import still_broken

pytestmark = pytest.mark.upstream
GEOMETRY, COLOR = "tfdml/data/augment/geometry.py", "tfdml/data/augment/color.py"
RAND_AUGMENT = "tfdml/data/augment/rand_augment.py"
NUMBER = 200


def changed(layer, image) -> np.ndarray:
    """NUMBER copies of an image, each changed by itself."""
    images = np.repeat(np.asarray(image, np.float32)[np.newaxis], NUMBER, axis=0)
    return keras.ops.convert_to_numpy(layer(images, training=True))


def test_both_directions_are_flipped_by_one_draw():
    image = np.arange(4).reshape(2, 2, 1)
    flipped = changed(keras.layers.RandomFlip("horizontal_and_vertical", seed=0), image)
    found = {tuple(one.ravel().astype(int)) for one in flipped}
    assert {(0, 1, 2, 3), (3, 2, 1, 0)} <= found
    still_broken("D17", GEOMETRY, len(found) == 2)  # neither (1, 0, 3, 2) nor (2, 3, 0, 1)


def test_saturation_of_pixels_up_to_255_leaves_their_range():
    pixel = np.array([[[200, 20, 20]]])
    images = changed(keras.layers.RandomSaturation((0.7, 0.7), value_range=(0, 255)), pixel)
    still_broken("D17", COLOR, bool(images.min() < 0))
    right = changed(keras.layers.RandomSaturation((0.7, 0.7), value_range=(0, 1)), pixel)
    np.testing.assert_allclose(right[0, 0, 0], [200, 0, 0], atol=1e-3)


def test_contrast_of_one_number_only_grows():
    image = np.array([100.0, 150.0]).reshape(1, 2, 1)
    images = changed(keras.layers.RandomContrast(0.5, value_range=(0, 255), seed=0), image)
    factors = np.diff(images[:, 0, :, 0])[:, 0] / 50
    assert factors.max() > 1.3
    still_broken("D17", COLOR, bool(factors.min() >= 1))  # it says [1 - 0.5, 1 + 0.5]


def test_the_weakest_solarization_inverts_the_most():
    image = np.full((1, 1, 1), 100.0)

    def inverted(strength: float) -> float:
        layer = keras.layers.Solarization(threshold_factor=strength, value_range=(0, 255), seed=0)
        return float((changed(layer, image) != 100).mean())

    still_broken("D17", RAND_AUGMENT, inverted(0.1) > inverted(1.0))
