"""Labelled images out of TensorFlow Datasets: `tfds:NAME`, `tfds:NAME/CONFIG:VERSION`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdml.errors import DataError
from tfdml.shared_files import one_process_at_a_time


def prepare_builder(name: str, data_dir: Path) -> Any:
    """The TFDS builder of `name`, downloaded and prepared; many processes may call at once.

    Raises:
        DataError: for a name that TFDS does not know, or a data set without `image` and `label`.
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
        builder.download_and_prepare()
    return builder


def encoded_examples(builder: Any, split: str) -> tf.data.Dataset:
    """(encoded image: string scalar, label: int64 scalar), always in the same order."""
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=16, try_autocache=False),
    )
    return dataset.map(lambda features: (features["image"], features["label"]))
