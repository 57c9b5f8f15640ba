"""Counting words in a first pass, in bounded memory, and choosing a vocabulary from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_WORDS = 4_000_000


@dataclass
class WordCounts:
    """How often each word occurs.

    With more than `max_words` different words the rarest are forgotten, always the same ones, because
    fragments come in their order; `forgotten` then says up to which count.
    """

    max_words: int = MAX_WORDS
    counts: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0

    def add(self, words: Iterable[str]) -> None:
        self.counts.update(words)
        self._forget()

    def merge(self, other: WordCounts) -> None:
        self.counts.update(other.counts)
        self.forgotten = max(self.forgotten, other.forgotten)
        self._forget()

    def _forget(self) -> None:
        while len(self.counts) > self.max_words:
            self.forgotten += 1
            kept = {word: n for word, n in self.counts.items() if n > self.forgotten}
            self.counts = Counter(kept)

    def most_frequent(self, size: int, min_count: int = 1) -> tuple[str, ...]:
        """At most `size` words; of equal count, those that sort first."""
        enough = ((-n, word) for word, n in self.counts.items() if n >= min_count)
        return tuple(word for _, word in sorted(enough)[:size])


def to_file(words: Iterable[str]) -> bytes:
    """A word a line."""
    return "".join(f"{word}\n" for word in words).encode()


def fits_a_line(word: str) -> bool:
    """Whether a vocabulary's file can hold the word."""
    return bool(word) and len(word.splitlines()) == 1 and word.splitlines()[0] == word
