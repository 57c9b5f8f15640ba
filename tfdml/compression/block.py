"""What the blockwise codecs share: all but their formats."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.native import functions_block
from tfdml.native.block_format import BlockFormat

_ROUNDINGS = ("nearest", "stochastic")
_SMALLEST, _LARGEST = 32, 65536


class BlockCodec:
    """A codec whose values share a scale block by block; see `Codec` for the methods.

    A block is the same number of values everywhere, whatever tensors they lie in. A chunk holds whole blocks.
    Stochastic rounding draws its numbers from a hash of the value's position and the seed.
    """

    name: str
    unbiased: bool
    feedback: bool
    shared_seed = False

    def __init__(self, format: BlockFormat):
        self.format = format

    def chunk_elements(self, num_elements: int, chunks: int = 1) -> int:
        return self.format.chunk_elements(num_elements, chunks)

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        return self.format.payload_words(num_elements, chunks)

    def encode(self, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1) -> tf.Tensor:
        return functions_block.encode(self.format, values, seed=seed, chunks=chunks)

    def encode_feedback(
        self,
        values: Sequence[tf.Tensor],
        residuals: Sequence[tf.Variable],
        *,
        seed: tf.Tensor,
        commit: tf.Tensor,
        residual_scale: tf.Tensor,
        chunks: int = 1,
    ) -> tf.Tensor:
        return functions_block.encode_feedback(
            self.format,
            values,
            residuals,
            seed=seed,
            commit=commit,
            residual_scale=residual_scale,
            chunks=chunks,
        )

    def encode_remainder(
        self,
        values: tf.Tensor,
        residuals: Sequence[tf.Variable],
        offset: tf.Tensor,
        *,
        seed: tf.Tensor,
        commit: tf.Tensor,
    ) -> tf.Tensor:
        return functions_block.encode_remainder(
            self.format, values, residuals, offset, seed=seed, commit=commit
        )

    def decode_sum(
        self, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
    ) -> list[tf.Tensor]:
        return functions_block.decode_sum(self.format, words, shapes, initial=initial)


def check_block_size(block_size: int, default: int) -> None:
    """Raises: ConfigError: not a power of two of 32 to 65536."""
    whole = isinstance(block_size, int) and not isinstance(block_size, bool)
    if not whole or not _SMALLEST <= block_size <= _LARGEST or block_size & (block_size - 1):
        raise ConfigError(
            f"`block_size` must be a power of two from {_SMALLEST} to {_LARGEST}, got {block_size!r}. "
            f"The default is {default}."
        )


def check_rounding(rounding: str) -> bool:
    """Whether `rounding` is stochastic. Raises: ConfigError: neither that nor nearest."""
    if rounding not in _ROUNDINGS:
        raise ConfigError(
            f"`rounding` must be one of {', '.join(_ROUNDINGS)}, got {rounding!r}. 'nearest' needs error "
            "feedback and has the smaller error; 'stochastic' is right on average without."
        )
    return rounding == "stochastic"
