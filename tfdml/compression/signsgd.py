"""One bit a value: its sign, and one scale for a block; 30 times fewer bytes than float32."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec, check_block_size
from tfdml.native.block_format import BlockFormat


class SignSgd(BlockCodec):
    """x ~ +s where x is not negative, else -s, with s = mean|x| of the block's values.

    1-bit SGD with error feedback (Seide et al. 2014), with the scale of Karimireddy et al. 2019, "Error Feedback
    Fixes SignSGD" (algorithm 1: the L1 norm over the number of values), block by block. It is far from right on
    average and needs error feedback.

    Args:
        block_size: values that share a scale; a power of two from 32 to 65536.
    """

    name = "signsgd"
    unbiased = False
    feedback = True

    def __init__(self, block_size: int = 1024):
        check_block_size(block_size, default=1024)
        super().__init__(BlockFormat("sign", 1, block_size))
