"""Labelled images out of TensorFlow Datasets: `tfds:NAME`, `tfds:NAME/CONFIG:VERSION`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfdml.data.images.image_records import ImageRecords, readable
from tfdml.data.origin import Origin
from tfdml.errors import DataError
from tfdml.shared_files import one_process_at_a_time


def prepare_builder(name: str, data_dir: Path) -> Any:
    """The TFDS builder of `name`, downloaded and prepared; many processes may call at once.

    Raises:
        DataError: for a name that TFDS does not know, or a data set without `image` and `label`, or one
            that was prepared in another format than TFRecord.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=str(data_dir))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"tfds:{name} cannot be loaded: {reason}") from None
    features = dict(builder.info.features.items())
    if not isinstance(features.get("image"), tfds.features.Image) or not isinstance(
        features.get("label"), tfds.features.ClassLabel
    ):
        raise DataError(
            f"tfds:{name} is no image classification set: it has the features "
            f"{', '.join(features)}, and `image` and `label` are needed."
        )
    with one_process_at_a_time(data_dir / f".{builder.name}.lock"):
        builder.download_and_prepare(file_format="tfrecord")
    file_format = builder.info.file_format
    if file_format is not None and file_format.value != "tfrecord":
        raise DataError(
            f"tfds:{name} is stored as {file_format.value} in {builder.data_dir}, and only TFRecord can be read. "
            "Remove that directory, or set data.data_dir to another one."
        )
    return builder


def layout(builder: Any) -> ImageRecords:
    """Where a record has its image and its label."""
    features = builder.info.features
    return ImageRecords(
        image="image",
        label="label",
        shape=readable(features["image"].shape),
        class_names=tuple(features["label"].names),
    )


def origin(builder: Any) -> Origin:
    """What TFDS says of where the data come from; it has no digest of them."""
    info = builder.info
    terms = info.redistribution_info
    return Origin(
        name=info.full_name,
        location=str(builder.data_dir),
        splits={name: split.num_examples for name, split in info.splits.items()},
        licence=(terms.license or "") if terms else "",
        source=info.homepage or "",
        description=" ".join((info.description or "").split()),
    )


def files(builder: Any, split: str) -> list[str]:
    """The shards of one split, in order."""
    return [str(path) for path in builder.info.splits[split].filepaths]
