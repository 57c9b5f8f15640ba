"""The data set of the examples: scikit-learn's handwritten digits as shards, converted when first needed."""

from __future__ import annotations

import json
from pathlib import Path

from tfdml.data.format.dataset_manifest import FILE_NAME
from tfdml.errors import DataError
from tfdml.shared_files import one_process_at_a_time

NUM_SHARDS = 4
LICENCE = "CC BY 4.0"
SOURCE = (
    "sklearn.datasets.load_digits: the test set of Optical Recognition of Handwritten Digits, E. Alpaydin and "
    "C. Kaynak 1998, UCI Machine Learning Repository, https://archive.ics.uci.edu/dataset/80"
)


def prepare_digits(data_dir: Path) -> Path:
    """The directory of the shards, converted now if nobody has; many processes may call at once."""
    directory = data_dir / "digits"
    if _is_there(directory):  # needs no lock, so data_dir may be read-only from now on
        return directory
    try:
        with one_process_at_a_time(data_dir / ".digits.lock"):
            if not _is_there(directory):
                _convert(directory)
    except OSError as error:
        raise DataError(
            f"The digits cannot be written to {directory}: {error.strerror or error}. "
            "Set data.data_dir to a directory that can be written."
        ) from None
    return directory


def _is_there(directory: Path) -> bool:
    return (directory / FILE_NAME).exists() and not _is_of_version_1(directory)


def _is_of_version_1(directory: Path) -> bool:
    """Whether an earlier tfdml wrote it, in a format that is no longer read."""
    try:
        values = json.loads((directory / FILE_NAME).read_bytes())
        return values["format_version"] == 1 and values["name"] == "digits"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _convert(directory: Path) -> None:
    from tfdml.data.conversion.request import Conversion
    from tfdml.data.conversion.run import convert
    from tfdml.data.inputs.input import open_input
    from tfdml.data.inputs.options import InputOptions

    if _is_of_version_1(directory):
        # The manifest first: without it the rest is no data set, should this be interrupted.
        for file in (directory / FILE_NAME, *directory.glob("digits-*.tfrecord-*")):
            file.unlink()
    source = open_input("digits", (), InputOptions())
    request = Conversion(
        source, str(directory), "digits", num_shards=NUM_SHARDS, licence=LICENCE, source=SOURCE
    )
    convert(request, num_processes=1)
