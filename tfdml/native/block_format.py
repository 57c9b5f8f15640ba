"""What a blockwise payload looks like: shared by the kernels, the reference and the codecs."""

from __future__ import annotations

import math
from dataclasses import dataclass

TINY = 1e-30
"""A block whose largest value is below this counts as zero: its scale would not be a normal float32."""


@dataclass(frozen=True)
class BlockFormat:
    """Values in blocks of `block`; each becomes a field of `bits`, and a block has one float32 scale.

    The payload of a chunk is [fields, little-endian in int32 words][scales of all blocks]. With b the values of
    a block and L = 2**(bits - 1) - 1, the kinds are:

    - "absmax": integers q in [-L, L], value q * s / L with s = max|b|, or with `clip` the smaller of that and
      `clip` root mean squares of b.
    - "l2": the same with s = sqrt(sum(b**2)).
    - "sign": 1 bit, set where the value is not negative; value +s or -s with s = mean|b|.
    - "fp16": IEEE half precision of the value times the power of two that brings max|b| into [2**14, 2**15).
    - "bf16": the upper half of the float32, rounded to nearest even; no scale.

    Args:
        stochastic: q = floor(x + u) with u uniform in [0, 1), else q = x rounded to nearest even.
        clip: 0 for none; "absmax" only.
    """

    kind: str
    bits: int
    block: int
    stochastic: bool = False
    clip: float = 0.0

    @property
    def levels(self) -> int:
        return 2 ** (self.bits - 1) - 1

    @property
    def scales(self) -> bool:
        return self.kind != "bf16"

    def blocks(self, num_elements: int, chunks: int = 1) -> int:
        """Blocks of one chunk."""
        blocks = math.ceil(num_elements / self.block)
        return math.ceil(blocks / chunks)

    def chunk_elements(self, num_elements: int, chunks: int = 1) -> int:
        return self.blocks(num_elements, chunks) * self.block

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        words = self.block * self.bits // 32 + (1 if self.scales else 0)
        return self.blocks(num_elements, chunks) * words
