"""Corrupted test images: what is done to them, and that it is the same in every run."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def corruptions():
    import image_corruptions

    return image_corruptions


SEED = tf.constant([3, 5])


def image(size: int, channels: int) -> tf.Tensor:
    generator = np.random.default_rng(0)
    return tf.constant(generator.integers(0, 256, [size, size, channels]), tf.float32)


@pytest.mark.parametrize("corruption", ["noise", "blur", "brightness"])
@pytest.mark.parametrize(("size", "channels"), [(1, 1), (8, 1), (9, 3), (64, 3)])
def test_images_stay_images_and_change_more_with_severity(corruptions, corruption, size, channels):
    before = image(size, channels)
    changes = []
    for severity in corruptions.SEVERITIES:
        after = corruptions.corrupt(before, SEED, corruption, severity)
        assert after.shape == before.shape and after.dtype == tf.float32
        assert np.all((after >= 0) & (after <= 255) & (after == tf.round(after)))
        changes.append(float(tf.reduce_mean(tf.abs(after - before))))
    if size > 1:  # a single pixel cannot be blurred
        assert changes == sorted(changes) and changes[0] > 0
    repeated = corruptions.corrupt(before, SEED, corruption, 5)
    np.testing.assert_array_equal(after, repeated)


def test_noise_has_the_deviation_of_its_severity_and_depends_on_the_image(corruptions):
    grey = tf.fill([63, 63, 3], 127.0)
    noise = corruptions.corrupt(grey, SEED, "noise", 3) - grey
    assert float(tf.math.reduce_std(noise)) == pytest.approx(0.08 * 255, rel=0.03)
    other = corruptions.corrupt(grey, SEED + 1, "noise", 3) - grey
    correlation = np.corrcoef(np.ravel(noise), np.ravel(other))[0, 1]
    assert abs(correlation) < 0.05


def test_blur_is_a_gaussian_that_keeps_the_sum(corruptions):
    point = tf.tensor_scatter_nd_update(tf.zeros([33, 33, 1]), [[16, 16, 0]], [255.0])
    blurred = corruptions._blurred(point, 1.0).numpy()[..., 0]
    assert blurred.sum() == pytest.approx(255, rel=1e-4)
    assert blurred[16, 17] / blurred[16, 16] == pytest.approx(np.exp(-0.5), rel=1e-4)
    assert blurred[18, 16] / blurred[16, 16] == pytest.approx(np.exp(-2.0), rel=1e-4)


def test_brightness_keeps_the_hue(corruptions):
    red = tf.tile(tf.constant([[[100.0, 50.0, 0.0]]]), [64, 64, 1])
    brighter = corruptions.corrupt(red, SEED, "brightness", 2)[0, 0].numpy()
    # The value of HSV, the largest channel, by 0.2 of 255; the others in proportion.
    np.testing.assert_array_equal(brighter, [151, 76, 0])
    grey = tf.fill([8, 8, 1], 100.0)
    assert float(corruptions.corrupt(grey, SEED, "brightness", 5)[0, 0, 0]) == round(
        100 + 0.3 * 255
    )


def test_table_and_slices_have_the_clean_images_first(corruptions):
    found = {"noise": {1: 0.9, 5: 0.5}, "blur": {1: 1.0, 5: 0.8}}
    assert corruptions.mean_accuracy(found) == pytest.approx(0.8)
    assert corruptions.as_table(found, 0.99).splitlines() == [
        "corruption        mean  severity 1  severity 5",
        "none            0.9900",
        "noise           0.7000      0.9000      0.5000",
        "blur            0.9000      1.0000      0.8000",
    ]
    rows = corruptions.as_slices(found, 0.99, 360)
    assert rows["none"] == {"examples": 360, "accuracy": 0.99}
    assert rows["noise"]["accuracy"] == pytest.approx(0.7)
    assert rows["noise"]["severity 5"] == 0.5 and rows["blur"]["examples"] == 360
