"""TernGrad: every value becomes -s, 0 or s; 16 times fewer bytes than float32."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec, check_block_size
from tfdml.errors import ConfigError
from tfdml.native.block_format import BlockFormat


class TernGrad(BlockCodec):
    """x ~ s * sign(x) with probability |x| / s, else 0, with s = max|x| of the block after clipping.

    Wen et al. 2017, "TernGrad: Ternary Gradients to Reduce Communication in Distributed Deep Learning", section 3.1;
    clipping at 2.5 standard deviations is their section 3.3. The standard deviation here is that of values
    around zero, sqrt(mean(x**2)), so that a block of equal values is not clipped away. A block takes the place
    of their layer. Without clipping it is right on average.

    Args:
        clip: in standard deviations, or None.
        block_size: values that share a scale; a power of two from 32 to 65536.
    """

    name = "terngrad"
    feedback = False

    def __init__(self, clip: float | None = 2.5, block_size: int = 2048):
        if clip is not None and not (isinstance(clip, (int, float)) and clip >= 1):
            raise ConfigError(
                f"`clip` of terngrad must be at least 1 standard deviation, or None, got {clip!r}. "
                "The default is 2.5."
            )
        check_block_size(block_size, default=2048)
        self.unbiased = clip is None
        super().__init__(
            BlockFormat("absmax", 2, block_size, stochastic=True, clip=float(clip or 0.0))
        )
