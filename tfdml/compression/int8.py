"""Blockwise 8-bit quantisation: 4 times fewer bytes than float32."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec, check_block_size, check_rounding
from tfdml.native.block_format import BlockFormat


class Int8(BlockCodec):
    """Each block of values becomes 8-bit integers q and one float32 scale s = max|x| / 127, x ~ q * s.

    Symmetric absmax quantisation, block by block (Dettmers 2016, "8-Bit Approximations for Parallelism in Deep
    Learning"; Dettmers et al. 2022, section 2.1, for the blocks). The error of a value is at most s / 2, or s
    with stochastic rounding.

    Args:
        block_size: values that share a scale; a power of two from 32 to 65536.
        rounding: "nearest", or "stochastic": right on average, without error feedback unless asked for.
    """

    name = "int8"

    def __init__(self, block_size: int = 256, rounding: str = "nearest"):
        check_block_size(block_size, default=256)
        self.unbiased = check_rounding(rounding)
        self.feedback = not self.unbiased
        super().__init__(BlockFormat("absmax", 8, block_size, stochastic=self.unbiased))
