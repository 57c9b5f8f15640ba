"""Mixup and cutmix: partners that all workers agree on, weights that are drawn right, labels that fit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.data.augment.pairs import Cutmix, Either, Mixup
from tfdml.errors import ConfigError


def partners(rows, global_rows, step=0):
    return Mixup(0.2, 2).partner_rows(rows, global_rows, seeds.step_seed(0, step)).numpy()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_every_row_is_the_partner_of_one_other_row(dtype):
    for step in range(20):
        found = partners(np.arange(7, dtype=dtype), 7, step)
        assert found.dtype == dtype
        assert sorted(found) == list(range(7)) and (found != np.arange(7)).all()
    np.testing.assert_array_equal(partners(np.arange(1), 1), [0])


def test_a_slice_has_the_partners_that_the_whole_batch_has():
    whole = partners(np.arange(10), 10, step=3)
    for start, size in ((0, 4), (4, 3), (7, 3)):
        np.testing.assert_array_equal(
            partners(np.arange(start, start + size), 10, step=3), whole[start : start + size]
        )


def test_over_the_steps_each_other_row_is_as_often_the_partner():
    pair, rows = Mixup(0.2, 2), tf.constant([0])
    data = tf.data.Dataset.range(400).map(
        lambda step: pair.partner_rows(rows, 5, seeds.step_seed(0, step))[0]
    )
    first = list(data.as_numpy_iterator())
    assert set(first) == {1, 2, 3, 4}
    assert max(abs(first.count(row) - 100) for row in range(1, 5)) < 45  # five standard deviations


def mixed(pair, count=300, size=(8, 8)):
    """`count` records, all white images of class 0 with black partners of class 1."""
    white = (tf.fill([*size, 1], 255.0), tf.constant(0, tf.int64))
    black = (tf.zeros([*size, 1]), tf.constant(1, tf.int64))

    def one(record_id):
        return pair.mix(white, black, seeds.record_seed(0, 0, record_id))

    images, labels = zip(*tf.data.Dataset.range(count).map(one).as_numpy_iterator(), strict=True)
    return np.stack(images)[..., 0] / 255, np.stack(labels)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_weighs_images_and_labels_alike_with_a_beta_distribution(alpha):
    images, labels = mixed(Mixup(alpha, 2))
    weights = images[:, 0, 0]
    np.testing.assert_allclose(images, weights[:, None, None] + np.zeros_like(images), atol=1e-6)
    np.testing.assert_allclose(labels, np.stack([weights, 1 - weights], axis=1), atol=1e-6)
    assert abs(weights.mean() - 0.5) < 0.1
    assert abs(weights.var() - 1 / (4 * (2 * alpha + 1))) < 0.02


def test_a_tiny_alpha_takes_one_image_or_the_other():
    images, labels = mixed(Mixup(0.001, 2), count=100)
    assert np.isfinite(images).all()
    assert np.mean((labels < 0.01) | (labels > 0.99)) > 0.95
    assert 0.25 < labels[:, 0].mean() < 0.75


def test_cutmix_pastes_one_box_and_weighs_labels_by_what_is_left():
    images, labels = mixed(Cutmix(1.0, 2), size=(10, 20))
    np.testing.assert_allclose(images.mean((1, 2)), labels[:, 0], atol=1e-6)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    black = images == 0
    rows, columns = black.any(2), black.any(1)
    np.testing.assert_array_equal(black, rows[:, :, None] & columns[:, None, :])  # a box
    assert black.any((1, 2)).mean() > 0.9 and (~black).any((1, 2)).mean() > 0.9
    # Everywhere: the box covers the corners and the middle at times.
    assert black.mean(0).min() > 0.1
    assert np.abs(black.mean(0) - black.mean(0)[::-1, ::-1]).max() < 0.15


def test_either_takes_both_ways_and_keeps_label_vectors():
    images, labels = mixed(Either(Mixup(1.0, 2), Cutmix(1.0, 2)))
    boxes = ((images == 0) | (images == 1)).all((1, 2))
    assert 0.4 < boxes.mean() < 0.6
    np.testing.assert_allclose(images.mean((1, 2)), labels[:, 0], atol=1e-5)

    vector = tf.constant([0.0, 0.5, 0.5])
    image = tf.zeros([2, 2, 1])
    _, label = Mixup(1.0, 3).mix((image, vector), (image, vector), tf.constant([1, 2]))
    np.testing.assert_allclose(label, vector)


def test_the_draws_depend_on_the_record_alone():
    images, _ = mixed(Cutmix(1.0, 2), count=20)
    again, _ = mixed(Cutmix(1.0, 2), count=10)
    np.testing.assert_array_equal(again, images[:10])
    assert len(np.unique(images.mean((1, 2)))) > 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixup(0, 10), "`alpha` must be positive, got 0. Use 0.2"),
        (lambda: Cutmix(-1.0, 10), "`alpha` must be positive, got -1.0"),
        (lambda: Mixup(0.2, 0), "`num_classes` must be at least 1, got 0"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
