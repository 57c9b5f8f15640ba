"""Text to numbers: by bytes, characters, words, or as a file of the `tokenizers` package says.

The first three count from 3: 0 fills up rows, 1 ends a document, 2 stands for what is not in the
vocabulary (ByT5 and T5 do likewise).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from tfdml.errors import ConfigError

PAD, END, UNKNOWN, FIRST = 0, 1, 2, 3

_WORDS = re.compile(r"\w+|[^\w\s]")
_ENDS = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "[EOS]", "[SEP]", "<|im_end|>")
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|endoftext|>")


class Tokenizer(Protocol):
    """Text to numbers."""

    @property
    def num_tokens(self) -> int:
        """One more than the largest number."""
        ...

    @property
    def pad(self) -> int:
        """The number that fills up rows."""
        ...

    @property
    def end(self) -> int | None:
        """The number that ends a document."""
        ...

    def encode(self, text: bytes) -> np.ndarray:
        """UTF-8 to int32 [tokens]."""
        ...


@dataclass(frozen=True)
class Bytes:
    """A number for each byte of UTF-8."""

    num_tokens = FIRST + 256
    pad = PAD
    end = END

    def encode(self, text: bytes) -> np.ndarray:
        return np.frombuffer(text, np.uint8).astype(np.int32) + FIRST


@dataclass(frozen=True)
class Pieces:
    """A number for each character, or for each word and punctuation mark, of a vocabulary."""

    kind: str  # "chars" or "words"
    vocabulary: tuple[str, ...]

    pad = PAD
    end = END

    @property
    def num_tokens(self) -> int:
        return FIRST + len(self.vocabulary)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self.vocabulary, FIRST)}

    def encode(self, text: bytes) -> np.ndarray:
        number = self._numbers.get
        return np.array(
            [number(piece, UNKNOWN) for piece in pieces(self.kind, text)], dtype=np.int32
        )


def pieces(kind: str, text: bytes) -> Iterable[str]:
    """What a vocabulary of characters or words is made of."""
    decoded = text.decode()
    return decoded if kind == "chars" else _WORDS.findall(decoded)


class FromFile:
    """What a JSON file of the `tokenizers` package says; without the special tokens that it would add."""

    def __init__(self, content: bytes, name: str):
        self.content, self.name = content, name
        try:
            self._tokenizer = self._load()
        except ImportError:
            raise ConfigError(
                f"{name}: the package `tokenizers` is not installed. Run: pip install 'tfdml[text]'."
            ) from None
        except Exception as error:  # the package raises plain Exceptions
            raise ConfigError(f"{name}: no file of the `tokenizers` package ({error}).") from None
        self.num_tokens = self._tokenizer.get_vocab_size()
        self.end = self._first_of(_ENDS)
        pad = self._first_of(_PADS)
        self.pad = pad if pad is not None else (self.end or 0)

    def _load(self) -> Any:
        import tokenizers

        return tokenizers.Tokenizer.from_buffer(self.content)

    def _first_of(self, tokens: tuple[str, ...]) -> int | None:
        numbers = (self._tokenizer.token_to_id(token) for token in tokens)
        return next((number for number in numbers if number is not None), None)

    def encode(self, text: bytes) -> np.ndarray:
        encoding = self._tokenizer.encode(text.decode(), add_special_tokens=False)
        return np.array(encoding.ids, np.int32)

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
