"""Whether a baseline JPEG is whole, many times faster than by decoding it: its markers are walked to the last one.

A decoder (libjpeg, in Pillow and TensorFlow) refuses wrong tables and files that end too early, and
takes damaged pixels for pixels. So does this: the coded pixels are looked at only for where they end.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# Behind coded pixels: a marker that is neither a stuffed FF (00) nor a restart (D0 to D7).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_SOF0, _SOF1, _DHT, _EOI, _SOS, _DQT, _DRI = 0xC0, 0xC1, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
_IGNORED = (0xFE, *range(0xE0, 0xF0))  # comments and what applications write
_MOST_BLOCKS = 10  # of all components together


class JpegHeader(NamedTuple):
    height: int
    width: int
    channels: int


class _Frame(NamedTuple):
    """Attributes: `components` are the ids, `quantisation` the numbers of the tables that they need."""

    header: JpegHeader
    components: tuple[int, ...]
    quantisation: frozenset[int]


def whole_jpeg(data: bytes) -> JpegHeader | None:
    """Its size, if everything between its first and its last marker is in place.

    None for all others, of which a decoder has to say whether they can be read: progressive ones, and
    anything that is not as it nearly always is.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    frame: _Frame | None = None
    quantisation: frozenset[int] | None = frozenset()
    huffman: frozenset[int] | None = frozenset()
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        stop = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        content = data[position + 4 : stop]
        if stop < position + 4 or stop > len(data):
            return None
        if marker in (_SOF0, _SOF1) and frame is None:
            frame = _frame(content)
        elif marker == _DQT:
            quantisation = _joined(quantisation, _quantisation_tables(content))
        elif marker == _DHT:
            huffman = _joined(huffman, _huffman_tables(content))
        elif marker == _SOS:
            right = frame and quantisation and huffman and frame.quantisation <= quantisation
            if frame is None or not right or not _is_scan(content, frame, huffman or frozenset()):
                return None
            following = _NEXT_MARKER.search(data, stop)
            is_end = following is not None and data[following.start() + 1] == _EOI
            return frame.header if is_end else None
        elif not (marker in _IGNORED or (marker == _DRI and len(content) == 2)):
            return None
        position = stop
    return None


def _joined(before: frozenset[int] | None, more: frozenset[int] | None) -> frozenset[int] | None:
    return None if before is None or more is None else before | more


@lru_cache(maxsize=64)
def _frame(content: bytes) -> _Frame | None:
    """SOF: bits, height, width, and of each component its id, samples and table."""
    if len(content) < 6:
        return None
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    count = content[5]
    channels = {1: 1, 3: 3, 4: 3}.get(count)  # four are cyan, magenta, yellow and black
    if content[0] != 8 or not (height and width and channels) or len(content) != 6 + 3 * count:
        return None
    ids = tuple(content[6::3])
    samples = [(each >> 4, each & 15) for each in content[7::3]]
    for side in zip(*samples, strict=True):
        if any(n not in (1, 2, 4) for n in side):
            return None
    blocks = sum(across * down for across, down in samples)
    tables = frozenset(content[8::3])
    if len(set(ids)) < count or max(tables) > 3 or (count > 1 and blocks > _MOST_BLOCKS):
        return None
    return _Frame(JpegHeader(height, width, channels), ids, tables)


@lru_cache(maxsize=64)
def _quantisation_tables(content: bytes) -> frozenset[int] | None:
    """DQT: the numbers of the tables."""
    found, at = set(), 0
    while at < len(content):
        wide, number = content[at] >> 4, content[at] & 15
        if wide > 1 or number > 3:
            return None
        found.add(number)
        at += 1 + 64 * (1 + wide)
    return frozenset(found) if at == len(content) else None


@lru_cache(maxsize=64)
def _huffman_tables(content: bytes) -> frozenset[int] | None:
    """DHT: the numbers of the tables, with 16 added for those of alternating currents."""
    found, at = set(), 0
    while at < len(content):
        kind, number = content[at] >> 4, content[at] & 15
        counts = content[at + 1 : at + 17]
        symbols = content[at + 17 : at + 17 + sum(counts)]
        if kind > 1 or number > 3 or len(counts) < 16 or not 0 < sum(counts) <= 256:
            return None
        if len(symbols) < sum(counts) or (not kind and max(symbols) > 15):
            return None
        code = 0
        for bits, count in enumerate(counts, 1):
            code += count
            if count and code >= 1 << bits:  # a code of ones alone is not allowed
                return None
            code <<= 1
        found.add(16 * kind + number)
        at += 17 + sum(counts)
    return frozenset(found)


def _is_scan(content: bytes, frame: _Frame, huffman: frozenset[int]) -> bool:
    """SOS: whether it is the one scan of all components, with tables that are there."""
    count = len(frame.components)
    if len(content) != 4 + 2 * count or content[0] != count:
        return False
    tables = content[2 : 1 + 2 * count : 2]
    needed = {table >> 4 for table in tables} | {16 + (table & 15) for table in tables}
    same = tuple(content[1 : 1 + 2 * count : 2]) == frame.components
    return same and needed <= huffman and content[-3:] == b"\x00\x3f\x00"
