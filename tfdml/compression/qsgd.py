"""QSGD: stochastic quantisation relative to the L2 norm, right on average."""

from __future__ import annotations

from tfdml.compression.block import BlockCodec, check_block_size
from tfdml.errors import ConfigError
from tfdml.native.block_format import BlockFormat


class Qsgd(BlockCodec):
    """Each block of values becomes integers q in [-L, L]: x ~ q * |b| / L, with |b| the block's L2 norm.

    q is x * L / |b| rounded up or down at random, so that it is right on average (Alistarh et al. 2017, "QSGD:
    Communication-Efficient SGD via Gradient Quantization and Encoding", section 3.1 with s = L levels; the
    buckets of 512 values and the 4 bits are those of their experiments). The integers travel as they are, 4 or 8 bits
    each, without the Elias coding of the paper's section 3.2: payloads here have one size.

    Args:
        bits: 4 (L = 7) or 8 (L = 127).
        block_size: values that share a norm, the paper's bucket; a power of two from 32 to 65536.
    """

    name = "qsgd"
    unbiased = True
    feedback = False

    def __init__(self, bits: int = 4, block_size: int = 512):
        if bits not in (4, 8):
            raise ConfigError(f"`bits` of qsgd must be 4 or 8, got {bits!r}. The default is 4.")
        check_block_size(block_size, default=512)
        super().__init__(BlockFormat("l2", bits, block_size, stochastic=True))
