"""The bundled digits and a TFDS builder as training data."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data.source_epochs import batches
from tfdml.data import open_images
from tfdml.errors import DataError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data dir")


@pytest.fixture(scope="module")
def digits(data_dir):
    return open_images("digits", data_dir=data_dir)


def epoch(source, number: int) -> list[bytes]:
    return [image.tobytes() for images, _ in batches(source, number) for image in images.numpy()]


def test_digits_are_all_there(digits):
    from sklearn.datasets import load_digits

    assert digits.image_shape == (8, 8, 1)
    assert digits.class_names == tuple("0123456789")
    assert digits.num_examples == {"train": 1442, "test": 355}
    stored = Counter(
        (np.rint(image[..., 0] * 16 / 255).astype(int).tobytes(), int(label))
        for source in (digits.training(100, seed=0), digits.evaluation(100))
        for images, labels in batches(source)
        for image, label in zip(images.numpy(), labels.numpy(), strict=True)
    )
    bunch = load_digits()
    assert stored == Counter(
        (image.astype(int).tobytes(), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    )


def test_test_digits_are_stratified(digits):
    labels = np.concatenate([labels.numpy() for _, labels in batches(digits.evaluation(500))])
    assert set(np.bincount(labels)) <= {34, 35, 36}


def test_batches_are_global_and_the_last_holds_the_rest(digits):
    source = digits.training(64, seed=0)
    assert source.order.steps_per_epoch == 23
    assert [len(labels) for _, labels in batches(source)] == [64] * 22 + [34]
    assert digits.evaluation(64).order.steps_per_epoch == 6
    assert digits.evaluation(64).element_spec[0].dtype == tf.float32


def test_labels_can_be_vectors(digits):
    for made in (digits.training, digits.evaluation):
        options = {"seed": 0} if made == digits.training else {}
        (images, labels), *_ = batches(made(50, **options))
        (same, vectors), *_ = batches(made(50, one_hot=True, **options))
        np.testing.assert_array_equal(same, images)
        np.testing.assert_array_equal(vectors, np.eye(10)[labels.numpy()])


def test_what_is_done_to_a_test_image_depends_on_it_alone(digits):
    noise = lambda image, seed: image + tf.random.stateless_uniform(image.shape, seed)
    clean = np.concatenate([images for images, _ in batches(digits.evaluation(355))])
    noisy = [
        np.concatenate([images for images, _ in batches(digits.evaluation(size, augment=noise))])
        for size in (355, 64)
    ]
    np.testing.assert_array_equal(*noisy)
    added = noisy[0] - clean
    assert added.min() >= 0 and added.max() <= 1 and added.std() > 0.2
    assert np.abs(added[0] - added[1]).max() > 0.1


def test_order_depends_on_seed_and_epoch_alone(digits):
    one, other = (digits.training(64, seed=3) for _ in range(2))
    first, second = epoch(one, 0), epoch(one, 1)
    assert first != second
    assert sorted(first) == sorted(second)
    assert [first, second] == [epoch(other, 0), epoch(other, 1)]
    assert first != epoch(digits.training(64, seed=4), 0)


def test_a_second_open_converts_nothing(digits, data_dir):
    before = {path: path.stat().st_mtime_ns for path in (data_dir / "digits").rglob("*")}
    open_images("digits", data_dir=data_dir)
    assert before == {path: path.stat().st_mtime_ns for path in (data_dir / "digits").rglob("*")}


def test_digits_of_an_earlier_version_are_converted_again(tmp_path):
    directory = tmp_path / "digits"
    directory.mkdir()
    (directory / "manifest.json").write_text('{"format_version": 1, "name": "digits"}')
    (directory / "digits-train.tfrecord-00000-of-00009").write_bytes(b"old")
    assert open_images("digits", data_dir=tmp_path).num_examples == {"train": 1442, "test": 355}
    assert not list(directory.glob("*-of-00009"))


def test_a_shard_that_was_damaged_is_noticed(tmp_path):
    digits = open_images("digits", data_dir=tmp_path)
    shard = tmp_path / "digits" / "digits-test.tfrecord-00000-of-00004"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"digits-test.tfrecord-00000-of-00004"):
        digits.evaluation(64)


def test_a_data_dir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Set data.data_dir to a directory that can be written"):
        open_images("digits", data_dir=tmp_path / "file")


@pytest.mark.slow
def test_processes_that_start_at_once_convert_once(tmp_path):
    code = (
        "import sys; from tfdml.data import open_images;"
        "print(open_images('digits', data_dir=sys.argv[1]).num_examples)"
    )
    command = [sys.executable, "-c", code, tmp_path]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs == ["{'train': 1442, 'test': 355}\n"] * 2
    assert len(list((tmp_path / "digits").glob("*.tfrecord-*"))) == 8
    assert not list((tmp_path / "digits").glob(".*"))


class TinyShapes(tfds.core.GeneratorBasedBuilder):
    """20 training and 5 validation images, grey of 5x7 pixels, of 2 classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(5, 7, 1)),
                    "label": tfds.features.ClassLabel(names=["dark", "light"]),
                }
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._examples(20), "validation": self._examples(5)}

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, count):
        for i in range(count):
            yield i, {"image": np.full([5, 7, 1], 100 * (i % 2), np.uint8), "label": i % 2}


class NoImages(TinyShapes):
    """The same without images."""

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
        )


def test_tfds_images(tmp_path):
    data = open_images("tfds:tiny_shapes", data_dir=tmp_path)
    assert data.class_names == ("dark", "light")
    assert data.image_shape == (5, 7, 1)
    assert data.num_examples == {"train": 20, "validation": 5}
    train = batches(data.training(8, seed=0))
    assert [len(labels) for _, labels in train] == [8, 8, 4]
    for images, labels in [*train, *batches(data.evaluation(8))]:
        assert images.dtype == tf.float32
        assert np.array_equal(images[:, 0, 0, 0], 100 * labels.numpy())
    resized = open_images("tfds:tiny_shapes", data_dir=tmp_path, image_size=4)
    assert batches(resized.evaluation(8))[0][0].shape == (5, 4, 4, 1)


def test_tfds_errors(tmp_path):
    with pytest.raises(DataError, match="tfds:no_such_set_at_all cannot be loaded"):
        open_images("tfds:no_such_set_at_all", data_dir=tmp_path)
    with pytest.raises(DataError, match="no image classification set: it has the features text"):
        open_images("tfds:no_images", data_dir=tmp_path)
