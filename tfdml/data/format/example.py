"""`tf.train.Example` without TensorFlow: values of a row to a record and back, as TFDS encodes them.

Features are sorted by name, so that the same row always gives the same bytes. An Example is a map
from feature name to a list of bytes, of float32 or of int64; the wire format is in
tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfdml.data.format.example_decoder import decode
from tfdml.data.format.example_encoder import Encoder, as_array
from tfdml.data.format.features import Schema

__all__ = ["Encoder", "as_array", "decode", "encode"]

_latest: Encoder | None = None


def encode(values: Mapping[str, Any], schema: Schema) -> bytes:
    """The record of a row; keeps the `Encoder` of the latest schema."""
    global _latest
    if _latest is None or _latest.schema != schema:
        _latest = Encoder(schema)
    return _latest(values)
