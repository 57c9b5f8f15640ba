"""Labelled images for training and testing: the bundled digits, TFDS, or a directory of shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from tfdml.data import image_records
from tfdml.data.manifest import Manifest
from tfdml.data.shards import find_shards, read_records
from tfdml.errors import DataError

_TFDS = "tfds:"


@dataclass(frozen=True)
class ImageDataset:
    """Images that all have one shape, with their labels.

    Attributes:
        class_names: the label i is an image of class_names[i].
        num_examples: split -> number of images.
        stored_shape: (height, width, channels) in pixels; None for height and width that vary.
        image_size: height and width that images are resized to; None keeps the stored size.
        encoded: split -> data set of (encoded image, label), always in the same order.
    """

    name: str
    class_names: tuple[str, ...]
    num_examples: Mapping[str, int]
    stored_shape: tuple[int | None, int | None, int]
    image_size: int | None
    encoded: Callable[[str], tf.data.Dataset] = field(repr=False)

    def __post_init__(self) -> None:
        if self.image_size is None and None in self.stored_shape:
            raise DataError(
                f"The images of {self.name} differ in size. Set data.image_size, e.g. to 224."
            )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that the data sets yield."""
        height, width, channels = self.stored_shape
        return self.image_size or height, self.image_size or width, channels  # type: ignore[return-value]

    @property
    def test_split(self) -> str:
        """`test`, or `validation` where there is no labelled test set."""
        for split in ("test", "validation"):
            if split in self.num_examples:
                return split
        raise DataError(
            f"{self.name} has no test or validation split, only {', '.join(self.num_examples)}."
        )

    def training(
        self, global_batch_size: int, *, seed: int, shuffle_buffer: int
    ) -> tf.data.Dataset:
        """Batches of (float32 [batch, height, width, channels] in [0, 255], int64 [batch]).

        The order depends on the seed alone and is another one in each epoch, so every worker sees
        the same global batches. The last batch holds what is left.
        """
        size = min(shuffle_buffer, self._count("train"))
        examples = self.encoded("train").shuffle(size, seed=seed, reshuffle_each_iteration=True)
        return self._batches(examples, global_batch_size)

    def evaluation(self, global_batch_size: int) -> tf.data.Dataset:
        """The test images once, in a fixed order, in batches as `training` makes them."""
        return self._batches(self.encoded(self.test_split), global_batch_size)

    def _count(self, split: str) -> int:
        if split not in self.num_examples:
            raise DataError(
                f"{self.name} has no {split} split, only {', '.join(self.num_examples)}."
            )
        return self.num_examples[split]

    def _batches(self, examples: tf.data.Dataset, global_batch_size: int) -> tf.data.Dataset:
        images = examples.map(
            lambda encoded, label: (
                image_records.decode(encoded, self.stored_shape, self.image_size),
                label,
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return images.batch(global_batch_size).prefetch(tf.data.AUTOTUNE)


def open_images(
    dataset: str, *, data_dir: str | Path, image_size: int | None = None
) -> ImageDataset:
    """Open a data set, and convert or download it first where that is needed.

    Args:
        dataset: `digits`, `tfds:NAME`, or a directory of shards with a manifest.
        data_dir: where digits and TFDS data sets are kept.
        image_size: height and width in pixels to resize to; None keeps the stored size.

    Raises:
        DataError: for data that is missing, unfinished, or has no images and labels.
    """
    data_dir = Path(data_dir).expanduser()
    if dataset.startswith(_TFDS):
        return _from_tfds(dataset, data_dir, image_size)
    if dataset == "digits":
        from tfdml.data.digits import prepare_digits

        return _from_shards(prepare_digits(data_dir), image_size)
    return _from_shards(Path(dataset).expanduser(), image_size)


def _from_shards(directory: Path, image_size: int | None) -> ImageDataset:
    manifest = Manifest.read(directory)
    files = {split: find_shards(directory, split) for split in manifest.shard_lengths}

    def encoded(split: str) -> tf.data.Dataset:
        records = read_records(files[split]).map(image_records.parse)
        return records.apply(tf.data.experimental.assert_cardinality(manifest.num_examples(split)))

    return ImageDataset(
        name=str(directory),
        class_names=manifest.class_names,
        num_examples={split: manifest.num_examples(split) for split in files},
        stored_shape=manifest.image_shape,
        image_size=image_size,
        encoded=encoded,
    )


def _from_tfds(dataset: str, data_dir: Path, image_size: int | None) -> ImageDataset:
    from tfdml.data import tfds_images

    builder = tfds_images.prepare_builder(dataset.removeprefix(_TFDS), data_dir)
    return ImageDataset(
        name=dataset,
        class_names=tuple(builder.info.features["label"].names),
        num_examples={name: split.num_examples for name, split in builder.info.splits.items()},
        stored_shape=builder.info.features["image"].shape,
        image_size=image_size,
        encoded=lambda split: tfds_images.encoded_examples(builder, split),
    )
