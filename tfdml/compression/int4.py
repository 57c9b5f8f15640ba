"""Blockwise 4-bit quantisation: nearly 8 times fewer bytes than float32."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec, check_block_size, check_rounding
from tfdml.native.block_format import BlockFormat


class Int4(BlockCodec):
    """As `Int8` with 15 levels: integers q from -7 to 7 and one float32 scale s = max|x| / 7, x ~ q * s.

    What is lost is a sixteenth of the range at most, and error feedback brings it into later steps
    (Karimireddy et al. 2019, "Error Feedback Fixes SignSGD", for any contraction).

    Args:
        block_size: values that share a scale; a power of two from 32 to 65536.
        rounding: "nearest", or "stochastic": right on average, without error feedback unless asked for.
    """

    name = "int4"

    def __init__(self, block_size: int = 256, rounding: str = "nearest"):
        check_block_size(block_size, default=256)
        self.unbiased = check_rounding(rounding)
        self.feedback = not self.unbiased
        super().__init__(BlockFormat("absmax", 4, block_size, stochastic=self.unbiased))
