"""The state of a `tf.data` iterator as bytes, for pipelines that are not a `Source`.

TensorFlow writes it to files only; they are read into one piece of bytes. Shuffle buffers are in it, so it may be
large. Pipelines with functions of Python or other outside state cannot be saved; TensorFlow says so.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdml.errors import DataError


def iterator_bytes(iterator: Any) -> bytes:
    """The state of `iterator` (of a tf.data.Dataset, on this task).

    Raises:
        DataError: the pipeline cannot be saved.
    """
    with tempfile.TemporaryDirectory(prefix="tfdml-iterator-") as folder:
        try:
            tf.train.Checkpoint(iterator=iterator).write(str(Path(folder) / "state"))
        except (tf.errors.OpError, NotImplementedError, ValueError) as error:
            raise DataError(
                f"the position of this tf.data pipeline cannot be saved ({_first_line(error)}). Use a tfdml.data "
                "source, or functions of TensorFlow ops only."
            ) from None
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(Path(folder).iterdir()):
                archive.write(path, path.name)
        return packed.getvalue()


def load_iterator(iterator: Any, state: bytes) -> None:
    """Bring `iterator`, of the same pipeline, to where the saved one was.

    Raises:
        DataError: it is another pipeline.
    """
    with tempfile.TemporaryDirectory(prefix="tfdml-iterator-") as folder:
        with zipfile.ZipFile(io.BytesIO(state)) as archive:
            archive.extractall(folder)
        try:
            checkpoint = tf.train.Checkpoint(iterator=iterator)
            checkpoint.read(str(Path(folder) / "state")).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise DataError(
                f"the saved position does not fit this tf.data pipeline ({_first_line(error)}). Use the pipeline "
                "that it was saved with."
            ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
