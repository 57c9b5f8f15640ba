"""A copy of all entries in one piece of host memory that is used again for the next snapshot.

Training waits for this copy and for nothing else, so it must be as fast as memory is: no allocation after the first
time (fresh pages cost more than the copy), and two threads, which one core's share of the bandwidth makes worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tfdml.checkpoint.contents import Entry

ALIGNMENT = 64  # bytes; arrays that begin at such a multiple can be used where they lie
_PIECE_BYTES = 8 * 1024 * 1024  # what a thread copies at a time
_THREADS = 2


@dataclass(frozen=True)
class Placed:
    """Where an entry lies: [offset, offset + num_bytes) of the data, zeros up to `end`, where the next begins."""

    entry: Entry
    offset: int
    num_bytes: int
    end: int


class HostCopy:
    """Memory for one snapshot."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def take(self, entries: Sequence[Entry]) -> tuple[np.ndarray, list[Placed]]:
        """Copy `entries`, one after the other.

        Returns:
            The data, uint8 [n], good until the next call; and where each entry lies in it.
        """
        placed, offset = [], 0
        for entry in entries:
            num_bytes = entry.data.nbytes
            end = offset + -(-num_bytes // ALIGNMENT) * ALIGNMENT
            placed.append(Placed(entry, offset, num_bytes, end))
            offset = end
        self._grow(offset)
        data = self._memory[:offset]
        pieces = []
        for place in placed:
            data[place.offset + place.num_bytes : place.end] = 0
            for start in range(0, place.num_bytes, _PIECE_BYTES):
                stop = min(start + _PIECE_BYTES, place.num_bytes)
                source = place.entry.data[start:stop]
                pieces.append((data[place.offset + start : place.offset + stop], source))
        if offset <= _PIECE_BYTES:
            for target, source in pieces:
                np.copyto(target, source)
        else:
            with ThreadPoolExecutor(_THREADS, "tfdml-host-copy") as pool:
                list(pool.map(lambda piece: np.copyto(*piece), pieces))
        return data, placed

    @staticmethod
    def num_bytes(entries: Sequence[Entry]) -> int:
        """What a copy of `entries` takes."""
        return sum(-(-entry.data.nbytes // ALIGNMENT) * ALIGNMENT for entry in entries)

    def reserve(self, num_bytes: int) -> None:
        """Get that much memory and touch every page of it, which takes longer than a copy does."""
        self._grow(num_bytes)
        self._memory.fill(0)

    def _grow(self, num_bytes: int) -> None:
        if num_bytes > self._memory.nbytes:
            self._memory = np.empty(0, np.uint8)  # free the old one first
            self._memory = np.empty(num_bytes, np.uint8)

    def release(self) -> None:
        """Give the memory back."""
        self._memory = np.empty(0, np.uint8)
