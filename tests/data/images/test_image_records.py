"""Which features of a data set are its images and labels, and from bytes to pixels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.images.image_shards import CLASS_NAMES, numbered, png, write_images
from tests.data.source_epochs import batches
from tfdml.data import open_images
from tfdml.data.augment import ImageAugmentation
from tfdml.data.images.image_records import ImageRecords
from tfdml.errors import DataError


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """20 training and 6 test images of 4x6 pixels."""
    directory = tmp_path_factory.mktemp("colours")
    train = numbered(20, (4, 6, 3)), [i % 3 for i in range(20)]
    test = numbered(6, (4, 6, 3), first=100), [2] * 6
    return write_images(directory, {"train": train, "test": test}, shape=(4, 6, 3))


def numbers(batches) -> list[tuple[int, int]]:
    """(number, label) of each image, by the value that `numbered` gave it."""
    return [
        (round(float(image[2, 2, 0])), int(label))
        for images, labels in batches
        for image, label in zip(images.numpy(), labels.numpy(), strict=True)
    ]


def numbers_of_epoch(source, epoch=0):
    return numbers(batches(source, epoch))


def test_every_image_once_per_epoch_with_its_label(colours):
    data = open_images(str(colours), data_dir=".")
    assert data.class_names == CLASS_NAMES and data.image_shape == (4, 6, 3)
    assert data.num_examples == {"train": 20, "test": 6}
    source = data.training(8, seed=0)
    first, second = numbers_of_epoch(source), numbers_of_epoch(source, 1)
    assert first != second
    assert sorted(first) == sorted(second) == [(i, i % 3) for i in range(20)]
    assert numbers_of_epoch(data.training(8, seed=1)) != first
    by_shard = numbers_of_epoch(data.training(8, seed=0, shuffle="shards", window_shards=1))
    assert len({i % 2 for i, _ in by_shard[:10]}) == 1 and sorted(by_shard) == sorted(first)
    as_stored = numbers_of_epoch(data.training(8, seed=0, shuffle="none"))
    assert as_stored == [(i, i % 3) for i in [*range(0, 20, 2), *range(1, 20, 2)]]


def test_evaluation_is_one_pass_in_a_fixed_order(colours):
    data = open_images(str(colours), data_dir=".")
    test = batches(data.evaluation(4))
    assert [len(labels) for _, labels in test] == [4, 2]
    assert numbers(test) == [(100 + i, 2) for i in (0, 2, 4, 1, 3, 5)]
    images, labels = batches(data.evaluation(4, one_hot=True))[0]
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(labels, [[0, 0, 1]] * 4)


def test_mixing_makes_vectors_of_labels(colours):
    data = open_images(str(colours), data_dir=".")
    source = data.training(8, seed=0, augmentation=ImageAugmentation(mixup_alpha=1.0))
    images, labels = source.element_spec
    assert images.shape == (None, 4, 6, 3) and labels.shape == (None, 3)
    assert labels.dtype == np.float32


def test_augmented_images_keep_their_shape(colours):
    data = open_images(str(colours), data_dir=".")
    settings = (
        ImageAugmentation(resized_crop=True),
        ImageAugmentation(crop_padding=1, flip="vertical"),
    )
    for augmentation in settings:
        images, _ = data.training(8, seed=0, augmentation=augmentation).element_spec
        assert images.shape == (None, 4, 6, 3) and images.dtype == np.float32


def test_images_of_several_sizes_are_resized(tmp_path):
    images = [np.full((side, 9, 3), side, np.uint8) for side in (5, 9, 30)]
    write_images(tmp_path, {"train": (images, [0, 1, 2])}, shape=(None, None, 3), num_shards=1)
    with pytest.raises(DataError, match=r"differ in size. Set data.image_size"):
        open_images(str(tmp_path), data_dir=".")
    data = open_images(str(tmp_path), data_dir=".", image_size=8)
    assert data.image_shape == (8, 8, 3)
    for augmentation in (ImageAugmentation(), ImageAugmentation(resized_crop=True)):
        found = numbers_of_epoch(data.training(3, seed=0, augmentation=augmentation))
        assert sorted(found) == [(5, 0), (9, 1), (30, 2)]
    with pytest.raises(DataError, match="no test or validation split, only train"):
        data.evaluation(4)


def test_resizing_stays_within_the_range(tmp_path):
    layout = ImageRecords("image", "label", (None, None, 1), ())
    checks = (np.indices((9, 9)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    for size in ((4, 4), (30, 30)):
        image = layout.decode(png(checks), size).numpy()
        assert image.shape == (*size, 1) and image.min() >= 0 and image.max() <= 255


def test_alpha_is_left_out(tmp_path):
    pixels = np.full((3, 3, 4), 50, np.uint8)
    write_images(tmp_path, {"train": ([pixels], [0])}, shape=(3, 3, 4), num_shards=1)
    assert open_images(str(tmp_path), data_dir=".").image_shape == (3, 3, 3)
    assert ImageRecords("i", "l", (3, 3, 3), ()).decode(png(pixels), None).shape == (3, 3, 3)


def test_features_of_any_name_and_labels_without_names(tmp_path):
    images = numbered(4, (4, 4, 1))
    write_images(
        tmp_path,
        {"train": (images, [0, 6, 2, 2])},
        shape=(4, 4, 1),
        class_names=(),
        features=("scan", "finding"),
    )
    data = open_images(str(tmp_path), data_dir=".")
    assert data.class_names == tuple("0123456") and data.image_shape == (4, 4, 1)
    assert len(numbers_of_epoch(data.training(4, seed=0))) == 4


def test_records_that_are_missing_or_have_no_label(colours, tmp_path):
    images = numbered(4, (4, 4, 1))
    write_images(tmp_path / "a", {"train": (images, [0, -1, 2, -1])}, shape=(4, 4, 1))
    data = open_images(str(tmp_path / "a"), data_dir=".")
    with pytest.raises(DataError, match=r"2 records of the train split have no label \(-1\)"):
        data.training(2, seed=0)

    write_images(tmp_path / "b", {"train": (images, [0, 1, 2, 1])}, shape=(4, 4, 1))
    for file in (tmp_path / "b").glob("*00000-of-00002"):
        file.write_bytes(b"")
    data = open_images(str(tmp_path / "b"), data_dir=".")
    with pytest.raises(DataError, match=r"has 2 records, expected to contain 4"):
        data.training(2, seed=0)


def test_a_data_set_without_images(tmp_path):
    from tfdml.data.format.dataset_manifest import DatasetManifest, Shard
    from tfdml.data.format.features import Feature

    schema = {"text": Feature("text")}
    DatasetManifest("words", schema, {"train": (Shard("x", 1, 1, 0),)}).write(tmp_path)
    with pytest.raises(
        DataError, match=r"has the features text \(text\), and an image and a label"
    ):
        open_images(str(tmp_path), data_dir=".")


def test_a_converted_image_folder(tmp_path):
    from tfdml.data.conversion.request import Conversion
    from tfdml.data.conversion.run import convert
    from tfdml.data.conversion.splits import Splits
    from tfdml.data.inputs.input import open_input
    from tfdml.data.inputs.options import InputOptions

    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i, image in enumerate(numbered(10, (5, 6, 3), first=100 * label)):
            (tmp_path / "images" / name / f"{i}.png").write_bytes(png(image))
    folder = open_input("image_folder", [f"{tmp_path}/images/*/*.png"], InputOptions())
    splits = Splits.parse("train:0.8,test:0.2", stratify="label")
    shards = str(tmp_path / "shards")
    convert(Conversion(folder, shards, "pets", splits=splits, num_shards=2), num_processes=1)

    data = open_images(shards, data_dir=".")
    assert data.class_names == ("cat", "dog") and data.image_shape == (5, 6, 3)
    train = numbers_of_epoch(data.training(3, seed=0))
    test = numbers_of_epoch(data.evaluation(3))
    assert [len(train), len(test)] == [16, 4] and sum(label for _, label in test) == 2
    assert sorted(train + test) == [(100 * label + i, label) for label in (0, 1) for i in range(10)]
