"""Tokenizers of bytes, and of pairs of them that are frequent: made from texts, kept as a tokenizer.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfdml.data.stages.tokenizers import FromFile
from tfdml.errors import ConfigError

PAD, END = "<pad>", "<|endoftext|>"
SMALLEST_VOCABULARY = 256 + len((PAD, END))


class TextTokenizer(FromFile):
    """A tokenizer.json whose special tokens are numbers only: a text that has `<pad>` in it stays that text."""

    @classmethod
    def read(cls, file: Path) -> TextTokenizer:
        """
        Raises:
            ConfigError: there is no such file, or it is no tokenizer.
        """
        try:
            return cls(file.read_bytes(), str(file))
        except OSError as error:
            raise ConfigError(
                f"{file}: the tokenizer cannot be read ({error.strerror or error}). A model needs the tokenizer.json "
                "that it was trained with beside it."
            ) from None

    def _load(self) -> Any:
        tokenizer = super()._load()
        tokenizer.encode_special_tokens = True
        return tokenizer

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of tokens; what is no UTF-8 becomes U+FFFD, and special tokens are left out."""
        return self._tokenizer.decode(list(numbers), skip_special_tokens=True)


def train_bpe(texts: Iterable[bytes], vocabulary_size: int) -> bytes:
    """A tokenizer.json: byte pair encoding (Sennrich et al. 2016) of UTF-8 bytes, which gives back every text.

    0 fills up rows, 1 ends a document, the next 256 are the bytes. The same texts give the same file.

    Args:
        texts: UTF-8.
        vocabulary_size: all tokens together. With `SMALLEST_VOCABULARY` a token is a byte, and no text is looked at;
            a short text may give fewer than asked for.

    Raises:
        ConfigError: too small a vocabulary, or the package is not installed.
    """
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise ConfigError(
            f"`vocabulary_size` must be at least {SMALLEST_VOCABULARY}, the bytes and {PAD} and {END}, got "
            f"{vocabulary_size}."
        )
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise ConfigError(
            "The package `tokenizers` is not installed. Run: pip install 'tfdml[recipes]'."
        ) from None

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    merges = vocabulary_size > SMALLEST_VOCABULARY
    tokenizer.train_from_iterator((text.decode() for text in texts if merges), trainer)
    return (tokenizer.to_str(pretty=True) + "\n").encode()
