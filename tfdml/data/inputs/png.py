"""Whether a PNG is surely whole, several times faster than by decoding it with Pillow."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">II5B")
_CHUNK = struct.Struct(">I4s")
_MOST_BYTES = 64 * 1024 * 1024  # unpacked; larger images are decoded line by line by others
# colour type -> (samples a pixel, allowed bits of a sample, channels as read)
_COLOURS = {
    0: (1, (1, 2, 4, 8, 16), 1),
    2: (3, (8, 16), 3),
    3: (1, (1, 2, 4, 8), 3),
    4: (2, (8, 16), 4),
    6: (4, (8, 16), 4),
}


class PngHeader(NamedTuple):
    height: int
    width: int
    channels: int


def whole_png(data: bytes) -> PngHeader | None:
    """Its size, if every checksum fits and the pixels unpack to just as many bytes as there should be.

    None for all others, interlaced ones too, of which a decoder has to say whether they can be read.
    """
    if not data.startswith(_SIGNATURE + b"\x00\x00\x00\rIHDR"):
        return None
    pixels: list[bytes] = []
    palette = transparency = False
    position, end = len(_SIGNATURE), len(data)
    while True:
        if position + 12 > end:
            return None
        size, kind = _CHUNK.unpack_from(data, position)
        stop = position + 12 + size
        if stop > end or zlib.crc32(data[position + 4 : stop - 4]) != int.from_bytes(
            data[stop - 4 : stop], "big"
        ):
            return None
        if kind == b"IDAT":
            pixels.append(data[position + 8 : stop - 4])
        elif kind == b"PLTE":
            palette = True
        elif kind == b"tRNS":
            transparency = True
        elif kind == b"IEND":
            break
        position = stop
    width, height, bits, colour, compression, filtering, interlace = _HEADER.unpack_from(data, 16)
    if colour not in _COLOURS or compression or filtering or interlace or not (width and height):
        return None
    samples, allowed, channels = _COLOURS[colour]
    line = 1 + (width * samples * bits + 7) // 8
    if bits not in allowed or (colour == 3 and not palette) or height * line > _MOST_BYTES:
        return None
    unpack = zlib.decompressobj()
    try:
        raw = unpack.decompress(b"".join(pixels), height * line + 1)
    except zlib.error:
        return None
    if len(raw) != height * line or not unpack.eof or max(raw[::line]) > 4:
        return None  # each line begins with the number of its filter, of which there are five
    return PngHeader(height, width, 4 if colour == 3 and transparency else channels)
