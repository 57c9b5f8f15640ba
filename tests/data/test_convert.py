"""Real image files -> shards -> the same images, by class and by split."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfdml.data import open_images
from tfdml.data.convert import convert_images
from tfdml.data.image_folder import image_folder
from tfdml.data.manifest import FILE_NAME, Manifest
from tfdml.data.splits import stratified_split
from tfdml.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """images/<colour>/<i>.png: 10 red and 5 green images of 6x4 pixels; pixel (0, 0, 2) is i."""
    for channel, (colour, count) in enumerate([("red", 10), ("green", 5)]):
        (tmp_path / "images" / colour).mkdir(parents=True)
        for i in range(count):
            pixels = np.zeros([6, 4, 3], np.uint8)
            pixels[..., channel] = 200
            pixels[0, 0, 2] = i
            png = tf.io.encode_png(pixels).numpy()
            (tmp_path / "images" / colour / f"{i}.png").write_bytes(png)
    return tmp_path / "images"


def convert(folder, output_dir, **options):
    options = {"num_shards": 2, "test_fraction": 0.2, **options}
    return convert_images(image_folder(f"{folder}/*/*", "colours"), output_dir, **options)


def contents(dataset) -> Counter:
    """(label, number of the image) -> how often it is there; pixels must agree with labels."""
    seen: Counter = Counter()
    for images, labels in dataset:
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            assert image.shape == (6, 4, 3)
            assert image[3, 3].tolist() == ([0, 200, 0] if label == 0 else [200, 0, 0])
            seen[int(label), int(image[0, 0, 2])] += 1
    return seen


def test_image_folder_round_trip(folder, tmp_path):
    manifest = convert(folder, tmp_path / "shards")
    assert manifest == Manifest.read(tmp_path / "shards")
    assert manifest.class_names == ("green", "red")
    assert manifest.image_shape == (6, 4, 3)
    assert manifest.shard_lengths == {"train": (6, 6), "test": (2, 1)}
    data = open_images(str(tmp_path / "shards"), data_dir=tmp_path)
    assert (data.num_classes, data.image_shape) == (2, (6, 4, 3))
    train = contents(data.training(5, seed=0, shuffle_buffer=100))
    test = contents(data.evaluation(5))
    assert train + test == Counter([(0, i) for i in range(5)] + [(1, i) for i in range(10)])
    assert Counter(label for label, _ in test) == {0: 1, 1: 2}


def test_model_garden_feature_names(folder, tmp_path):
    convert(folder, tmp_path / "shards")
    file = tmp_path / "shards" / "colours-test.tfrecord-00000-of-00002"
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(str(file)))).numpy())
    feature = example.features.feature
    assert feature["image/height"].int64_list.value[:] == [6]
    assert feature["image/width"].int64_list.value[:] == [4]
    pixels = tf.io.decode_png(feature["image/encoded"].bytes_list.value[0])
    label = feature["image/class/label"].int64_list.value[0]
    assert pixels[3, 3, 1 - label] == 200


def test_the_same_bytes_every_time(folder, tmp_path):
    for name in ("a", "b"):
        convert(folder, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_mixed_sizes_and_grey_images_need_a_size(folder, tmp_path):
    grey = tf.io.encode_jpeg(np.full([9, 9, 1], 77, np.uint8)).numpy()
    (folder / "red" / "grey.jpg").write_bytes(grey)
    assert convert(folder, tmp_path / "shards", test_fraction=0.5).image_shape == (None, None, 3)
    with pytest.raises(DataError, match=r"differ in size. Set data.image_size"):
        open_images(str(tmp_path / "shards"), data_dir=tmp_path)
    data = open_images(str(tmp_path / "shards"), data_dir=tmp_path, image_size=8)
    images, _ = next(iter(data.evaluation(4)))
    assert images.shape == (4, 8, 8, 3)
    assert data.image_shape == (8, 8, 3)


def test_bad_input_is_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"No file matches .*\*.gif"):
        image_folder(f"{folder}/*.gif", "none")
    with pytest.raises(DataError, match="the test split has 3 images"):
        convert(folder, tmp_path / "a", num_shards=4)
    assert not (tmp_path / "a").exists()
    (folder / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    with pytest.raises(DataError, match=r"red/broken.png: no image that can be read"):
        convert(folder, tmp_path / "b")
    with pytest.raises(DataError, match=f"no {FILE_NAME}, so no finished conversion"):
        open_images(str(tmp_path / "b"), data_dir=tmp_path)
    (folder / "red" / "broken.png").unlink()
    convert(folder, tmp_path / "b")
    with pytest.raises(DataError, match="holds a data set already"):
        convert(folder, tmp_path / "b")


def test_missing_damaged_and_newer_data_sets(folder, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory"):
        open_images(str(tmp_path / "nowhere"), data_dir=tmp_path)
    convert(folder, tmp_path / "shards", test_fraction=0)
    data = open_images(str(tmp_path / "shards"), data_dir=tmp_path)
    with pytest.raises(DataError, match="no test or validation split, only train"):
        data.evaluation(4)
    manifest = tmp_path / "shards" / FILE_NAME
    whole = manifest.read_text()
    manifest.write_text(whole[:50])
    with pytest.raises(DataError, match="damaged"):
        open_images(str(tmp_path / "shards"), data_dir=tmp_path)
    manifest.write_text(whole.replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(DataError, match="format version 2, this tfdml reads 1"):
        open_images(str(tmp_path / "shards"), data_dir=tmp_path)


def test_split_by_class():
    labels = [0] * 10 + [1] * 4 + [0] * 5
    train, test = stratified_split(labels, 0.2)
    assert sorted(train + test) == list(range(19))
    assert test == [4, 9, 18]
    assert stratified_split(labels, 0) == (list(range(19)), [])
