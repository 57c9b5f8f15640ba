"""Decoded examples kept by record number, so that a cache changes nothing about the order.

In memory: the whole set is decoded once, when the pipeline is made. On disk: once for all processes of a host, into a
file of records that is then read like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfdml.data.records import RecordSet


def filled(
    cache: str,
    records: RecordSet,
    parse: Callable[[tf.Tensor], Any] | None,
    decode: Callable[[Any], Any] | None,
) -> Callable[[tf.Tensor], Any]:
    """Fill the cache if need be; returns ids int64 [n] -> examples with a leading dimension of n."""
    raise NotImplementedError
