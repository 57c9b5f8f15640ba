"""Any data set of TensorFlow Datasets, by its name: prepared by its builder, then read as TFRecord shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.tfrecord import TfRecord
from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import one_process_at_a_time

_DEFAULT_DIR = "~/tensorflow_datasets"  # TFDS's own


class Tfds(TfRecord):
    """`mnist`, `mnist:3.0.1`, `imagenet_resized/32x32`, with or without `tfds:` before it."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        if len(patterns) != 1 or not patterns[0]:
            raise ConfigError("--format=tfds: --input is the name of one data set, such as mnist.")
        name = patterns[0].removeprefix("tfds:")
        data_dir = Path(options.data_dir or _DEFAULT_DIR).expanduser()
        builder = _prepared(name, data_dir)
        file_format = builder.info.file_format.value
        if file_format != "tfrecord":
            raise DataError(
                f"tfds:{name} was prepared as {file_format}, and TFRecord shards are needed. Prepare it again "
                "with --data_dir=ANOTHER_DIRECTORY."
            )
        self.name = builder.name
        super().__init__((str(builder.data_dir),), options)


def _prepared(name: str, data_dir: Path) -> Any:
    """The builder, downloaded and prepared; many processes may call at once."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=str(data_dir))
        with one_process_at_a_time(data_dir / f".{builder.name}.lock"):
            builder.download_and_prepare()
    except Exception as error:  # the builders of data sets raise what they like
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise DataError(f"tfds:{name} cannot be prepared in {data_dir}: {reason.strip()}") from None
    return builder
