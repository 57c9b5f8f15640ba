"""bfloat16: half the bytes of float32, its range, and 8 bits of mantissa."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec
from tfdml.native.block_format import BlockFormat

# There is no scale; blocks are what chunks are made of, and 32 values fill whole words.
_BLOCK = 32


class Bf16(BlockCodec):
    """The upper half of each float32, rounded to nearest even. Sums are of float32 values."""

    name = "bf16"
    unbiased = False
    feedback = False

    def __init__(self) -> None:
        super().__init__(BlockFormat("bf16", 16, _BLOCK))
