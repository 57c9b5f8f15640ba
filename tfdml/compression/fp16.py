"""IEEE half precision with a scale for each block: half the bytes of float32, 11 bits of mantissa."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec
from tfdml.native.block_format import BlockFormat

_BLOCK = 4096


class Fp16(BlockCodec):
    """Values times a power of two, rounded to IEEE half precision.

    Each block of 4,096 values has its own power of two, which brings its largest into [2**14, 2**15): gradients of
    1e-8, which are zero as halves, keep their 11 bits, and none overflows. Sums are of float32 values.
    """

    name = "fp16"
    unbiased = False
    feedback = False

    def __init__(self) -> None:
        super().__init__(BlockFormat("fp16", 16, _BLOCK))
