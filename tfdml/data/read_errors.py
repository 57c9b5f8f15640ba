"""From a failed op in an input pipeline to one sentence that says which record of which file is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from tfdml.errors import DataError

# What messages of the ops that read records begin with, native (shard_files.h) or not.
MARK = "tfdml records: "

_MESSAGE = re.compile(re.escape(MARK) + r"(.*?)(?=\n|\s*\[\[|$)")


@contextmanager
def data_errors() -> Iterator[None]:
    """Turns an error of reading records into a DataError; other errors pass.

    Raises:
        DataError: a record is damaged, or a shard is missing or not what its index says.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = _MESSAGE.search(error.message or "")
        if found is None:
            raise
        raise DataError(found[1]) from error
