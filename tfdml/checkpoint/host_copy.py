"""A copy of all entries in one piece of host memory that is used again for the next snapshot.

What a variable holds is copied while training goes on; before the next update it should be done, because TensorFlow
must give every variable new memory otherwise. So the copy must be as fast as memory is: no allocation after the first
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

    def place(self, entries: Sequence[Entry]) -> tuple[np.ndarray, list[Placed]]:
        """Find a place for each of `entries`, one after the other; `copy` brings them there.

        Returns:
            The data, uint8 [n], good until the next call; and where each entry lies in it.
        """
        placed, offset = [], 0
        for entry in entries:
            assert entry.data is not None
            num_bytes = entry.data.nbytes
            end = offset + -(-num_bytes // ALIGNMENT) * ALIGNMENT
            placed.append(Placed(entry, offset, num_bytes, end))
            offset = end
        self._grow(offset)
        return self._memory[:offset], placed

    @staticmethod
    def copy(data: np.ndarray, placed: Sequence[Placed]) -> None:
        """Copy the entries to their places, and let go of theirs."""
        pieces = []
        for place in placed:
            source = place.entry.data
            assert source is not None
            data[place.offset + place.num_bytes : place.end] = 0
            target = data[place.offset : place.offset + place.num_bytes]
            for start in range(0, place.num_bytes, _PIECE_BYTES):
                stop = start + _PIECE_BYTES
                pieces.append((target[start:stop], source[start:stop]))
            place.entry.data = None
        source = None
        if sum(target.nbytes for target, _ in pieces) <= _PIECE_BYTES:
            for piece in pieces:
                np.copyto(*piece)
        else:
            with ThreadPoolExecutor(_THREADS, "tfdml-host-copy") as pool:
                list(pool.map(lambda piece: np.copyto(*piece), pieces))

    @staticmethod
    def num_bytes(entries: Sequence[Entry]) -> int:
        """What a copy of `entries` takes."""
        sizes = [0 if entry.data is None else entry.data.nbytes for entry in entries]
        return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)

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
