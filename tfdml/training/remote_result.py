"""What a scheduled function returned, also where the worker that ran it is lost meanwhile."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

_RETRY_SECONDS = 0.05


def fetch(coordinator: Any, remote: Any) -> Any:
    """Wait for `remote`, from `coordinator.schedule`, and return its values as NumPy arrays.

    TensorFlow's own `fetch` begins to copy when a function has been sent to a worker, and fails with the worker,
    though the coordinator sends the function to another one. Only the coordinator knows of an error whether it is the
    last word: then `done` raises it.
    """
    while True:
        try:
            return remote.fetch()
        except tf.errors.OpError:
            coordinator.done()
            time.sleep(_RETRY_SECONDS)
