"""Endpoint: one signature of an exported SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Endpoint:
    """What a user sends, and what is done to it before and after the model.

    Attributes:
        function: (model, *inputs) -> a dict of tensors; of TensorFlow's own ops, because others are not where the
            SavedModel is served.
        inputs: their shapes and dtypes, [None, ...] for a batch; their names are those of the signature.
    """

    function: Callable[..., Any]
    inputs: Sequence[tf.TensorSpec]
