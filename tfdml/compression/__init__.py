"""Codecs: a vector of gradients to a short payload and back. One codec a file; none of them keeps state."""

from tfdml.compression.codec import Codec
from tfdml.compression.int8 import Int8

__all__ = ["Codec", "Int8"]
