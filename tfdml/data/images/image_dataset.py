"""Labelled images for training and testing: the bundled digits, TFDS, or a directory of shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tensorflow as tf

from tfdml.data.augment.chain import Augmentation
from tfdml.data.augment.settings import ImageAugmentation
from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest
from tfdml.data.images.image_records import Example, ImageRecords
from tfdml.data.order import Order, Shuffle
from tfdml.data.origin import Origin
from tfdml.data.records import RecordSet
from tfdml.data.source import Source
from tfdml.errors import DataError
from tfdml.storage import is_remote, storage_for

_TFDS = "tfds:"
_NO_AUGMENTATION = ImageAugmentation()


@dataclass(frozen=True)
class ImageDataset:
    """Images that all have one shape, with their labels.

    Attributes:
        num_examples: split -> number of images.
        image_size: height and width that images are resized to; None keeps the stored size.
        records: split -> its records.
        origin: where they come from, for the record of a run.
    """

    name: str
    num_examples: Mapping[str, int]
    layout: ImageRecords
    image_size: int | None
    records: Callable[[str], RecordSet] = field(repr=False)
    origin: Origin = field(repr=False)

    def __post_init__(self) -> None:
        if self.image_size is None and None in self.layout.shape:
            raise DataError(
                f"The images of {self.name} differ in size. Set data.image_size, e.g. to 224."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The label i is an image of class_names[i]."""
        return self.layout.class_names

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that the data sets yield."""
        height, width, channels = self.layout.shape
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
        self,
        global_batch_size: int,
        *,
        seed: int,
        shuffle: Shuffle | Literal["auto"] = "auto",
        window_shards: int = 16,
        augmentation: ImageAugmentation = _NO_AUGMENTATION,
        one_hot: bool = False,
        cache: str | None = None,
    ) -> Source:
        """Batches of (float32 [batch, height, width, channels] in [0, 255], labels), resumed at any step.

        Labels are int64 [batch], or float32 [batch, num_classes] where `augmentation` mixes images or
        `one_hot` says so. The order depends on the seed alone and is another one in each epoch; the last
        batch of an epoch holds what is left.

        Args:
            shuffle: `full`, `shards` or `none`, as `Order` has it; `auto` is `shards` for data behind a URL,
                which is fetched shard by shard, else `full`.
            window_shards: for `shards`: how many are mixed at a time.
            cache: where decoded images are kept: None, `memory`, or a local directory.
        """
        records = self._records("train")
        order = Order(
            records.num_records,
            global_batch_size,
            seed=seed,
            shuffle=("full" if records.staged is None else "shards")
            if shuffle == "auto"
            else shuffle,
            shard_sizes=records.shard_sizes,
            window_shards=window_shards,
        )
        height, width, _ = self.image_shape
        chain, pair = augmentation.chain(height, width), augmentation.pair(self.num_classes)

        def augment(example: Example, seed: tf.Tensor) -> Example:
            return chain(tf.cast(example[0], tf.float32), seed), example[1]

        def batching(batch: Example) -> Example:
            images, labels = _float_images(batch)
            return images, self._one_hot(labels) if one_hot and pair is None else labels

        return Source(
            records,
            order,
            parse=self.layout.parse,
            # A resized crop is cut out of the image as it is stored.
            decode=self._decoder(None if augmentation.resized_crop else (height, width)),
            augment=augment if chain.steps or pair else None,
            pair=pair,
            batching=batching,
            cache=cache,
        )

    def evaluation(
        self,
        global_batch_size: int,
        *,
        one_hot: bool = False,
        augment: Augmentation | None = None,
    ) -> Source:
        """The test images in a fixed order, in batches as `training` makes them.

        Args:
            one_hot: labels are float32 [batch, num_classes].
            augment: what is done to each, such as noise; its seeds are the same whatever training's are.
        """
        records = self._records(self.test_split)
        order = Order(
            records.num_records,
            global_batch_size,
            shuffle="none",
            shard_sizes=records.shard_sizes,
        )

        def batching(batch: Example) -> Example:
            images, labels = _float_images(batch)
            return images, self._one_hot(labels) if one_hot else labels

        def augmented(example: Example, seed: tf.Tensor) -> Example:
            assert augment is not None
            return augment(tf.cast(example[0], tf.float32), seed), example[1]

        return Source(
            records,
            order,
            parse=self.layout.parse,
            decode=self._decoder(self.image_shape[:2]),
            augment=augmented if augment else None,
            batching=batching,
        )

    def _one_hot(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(labels, self.num_classes)

    def _decoder(self, size: tuple[int, int] | None) -> Callable[[Example], Example]:
        return lambda example: (self.layout.decode(example[0], size), example[1])

    def _records(self, split: str) -> RecordSet:
        if split not in self.num_examples:
            raise DataError(
                f"{self.name} has no {split} split, only {', '.join(self.num_examples)}."
            )
        records = self.records(split)
        if records.num_records != self.num_examples[split]:
            raise DataError(
                f"{self.name}: the {split} split has {records.num_records} records, expected to contain "
                f"{self.num_examples[split]}. Convert again, or copy the shards again."
            )
        return records


def _float_images(batch: Example) -> Example:
    return tf.cast(batch[0], tf.float32), batch[1]


def open_images(
    dataset: str, *, data_dir: str | Path, image_size: int | None = None
) -> ImageDataset:
    """Open a data set, and convert or download it first where that is needed.

    Args:
        dataset: `digits`, `tfds:NAME`, or a directory of shards with a manifest, also a URL.
        data_dir: where digits and TFDS data sets are kept.
        image_size: height and width in pixels to resize to; None keeps the stored size.

    Raises:
        DataError: for data that is missing, unfinished, or has no images and labels.
    """
    data_dir = Path(data_dir).expanduser()
    if dataset.startswith(_TFDS):
        return _from_tfds(dataset, data_dir, image_size)
    if dataset == "digits":
        from tfdml.data.images import digits

        directory = str(digits.prepare_digits(data_dir))
        return _from_shards(directory, image_size, licence=digits.LICENCE, source=digits.SOURCE)
    return _from_shards(
        dataset if is_remote(dataset) else str(Path(dataset).expanduser()), image_size
    )


def _from_shards(directory: str, image_size: int | None, **origin: str) -> ImageDataset:
    if is_remote(directory):
        storage = storage_for(directory)
        data = storage.read_bytes(FILE_NAME)
        manifest = DatasetManifest.from_bytes(data, storage.location(FILE_NAME))
    else:
        manifest = DatasetManifest.read(Path(directory))
    layout = ImageRecords.of_manifest(manifest, directory)

    def records(split: str) -> RecordSet:
        histogram = manifest.label_histogram.get(split, {}).get(layout.label, {})
        unknown = sum(count for label, count in histogram.items() if label < 0)
        if unknown:
            raise DataError(
                f"{directory}: {unknown} records of the {split} split have no label (-1). Convert again "
                "without them."
            )
        return RecordSet.open(directory, split)

    return ImageDataset(
        name=directory,
        num_examples={split: manifest.num_records(split) for split in manifest.splits},
        layout=layout,
        image_size=image_size,
        records=records,
        origin=Origin.of_manifest(manifest, directory, **origin),
    )


def _from_tfds(dataset: str, data_dir: Path, image_size: int | None) -> ImageDataset:
    from tfdml.data.images import tfds_images

    builder = tfds_images.prepare_builder(dataset.removeprefix(_TFDS), data_dir)
    return ImageDataset(
        name=dataset,
        num_examples={name: split.num_examples for name, split in builder.info.splits.items()},
        layout=tfds_images.layout(builder),
        image_size=image_size,
        records=lambda split: RecordSet.of_files(tfds_images.files(builder, split)),
        origin=tfds_images.origin(builder),
    )
