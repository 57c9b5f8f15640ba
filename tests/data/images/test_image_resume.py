"""Training images, augmented and mixed: the same bits for any number of workers, after any restart, cached or not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.images.image_shards import write_images
from tfdml.checkpoint import Position
from tfdml.data import open_images
from tfdml.data.augment import ImageAugmentation
from tfdml.data.order import Slice

GLOBAL_BATCH_SIZE = 7  # 23 images: 3 batches of 7 and one of 2
EVERYTHING = ImageAugmentation(
    crop_padding=2, flip="horizontal", color_jitter=0.3, mixup_alpha=0.4, cutmix_alpha=1.0
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (10, 12, 3), np.uint8) for _ in range(23)]
    labels = [i % 3 for i in range(23)]
    directory = tmp_path_factory.mktemp("images")
    write_images(directory, {"train": (pixels, labels)}, shape=(10, 12, 3))
    return open_images(str(directory), data_dir=directory)


def training(images, **options):
    return images.training(GLOBAL_BATCH_SIZE, seed=3, augmentation=EVERYTHING, **options)


def read(source, count, start=(0, 0), part=Slice()):  # noqa: B008
    epoch, step = start
    position = Position(epoch, step, epoch * source.order.steps_per_epoch + step)
    return list(source.slices(position, part).take(count).as_numpy_iterator())


@pytest.fixture(scope="module")
def whole(images):
    """Two epochs, read by one worker."""
    return read(training(images), 8)


def assert_same(found, expected):
    for (images, labels), (other_images, other_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_epochs_differ_and_labels_are_mixed(whole):
    batches = [batch for batch, _, _ in whole]
    assert [len(images) for images, _ in batches] == [7, 7, 7, 2] * 2
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
    assert ((labels > 0.01) & (labels < 0.99)).any(1).mean() > 0.4
    seen = {image.tobytes() for images, _ in batches for image in images}
    assert len(seen) == 46


@pytest.mark.parametrize("num_workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_any_number_of_workers_reads_the_same_global_batches(images, whole, num_workers):
    parts = [
        read(training(images), 8, part=Slice(worker, 1, num_workers))
        for worker in range(num_workers)
    ]
    for (batch, _, global_rows), *slices in zip(whole, *parts, strict=True):
        assert global_rows == sum(rows for _, rows, _ in slices)
        for number in (0, 1):
            joined = [part[number][:rows] for part, rows, _ in slices]
            np.testing.assert_array_equal(np.concatenate(joined), batch[number])


@pytest.mark.parametrize(
    "start",
    [
        pytest.param((0, 2), marks=pytest.mark.slow),
        pytest.param((0, 3), marks=pytest.mark.slow),
        (1, 1),
    ],
)
def test_resumed_at_any_step(images, whole, start):
    first = 4 * start[0] + start[1]
    found = read(training(images), 8 - first, start)
    assert_same([batch for batch, _, _ in found], [batch for batch, _, _ in whole[first:]])


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_cached(images, whole, where, tmp_path):
    cache = where if where == "memory" else str(tmp_path / "cache")
    found = read(training(images, cache=cache), 8)
    assert_same([batch for batch, _, _ in found], [batch for batch, _, _ in whole])
