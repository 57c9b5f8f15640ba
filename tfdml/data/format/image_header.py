"""Height, width and channels of a PNG or JPEG file from its header, without decoding it."""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">4sIIBB")  # "IHDR", width, height, bit depth, colour type
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # 3: a palette, whose colours are red, green, blue

_JPEG = b"\xff\xd8"
_FRAME = struct.Struct(">BHHB")  # precision, height, width, components
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, baseline or not
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


def image_encoding(image: bytes) -> str:
    """ "png", "jpeg", or "" for anything else."""
    return "png" if image.startswith(_PNG) else "jpeg" if image.startswith(_JPEG) else ""


def image_size(image: bytes) -> tuple[int, int, int] | None:
    """(height, width, channels) as the file says, or None for what is neither PNG nor JPEG, or cut."""
    try:
        if image.startswith(_PNG):
            return _png_size(image)
        if image.startswith(_JPEG):
            return _jpeg_size(image)
    except (struct.error, IndexError):
        pass
    return None


def _png_size(image: bytes) -> tuple[int, int, int] | None:
    chunk, width, height, _, color = _PNG_HEADER.unpack_from(image, len(_PNG) + 4)
    if chunk != b"IHDR" or color not in _PNG_CHANNELS:
        return None
    return height, width, _PNG_CHANNELS[color]


def _jpeg_size(image: bytes) -> tuple[int, int, int] | None:
    position = 2
    while image[position] == 0xFF:
        marker = image[position + 1]
        position += 1 if marker == 0xFF else 2  # 0xFF before a marker is a filler
        if marker in _FRAMES:
            _, height, width, components = _FRAME.unpack_from(image, position + 2)
            return height, width, components
        if marker != 0xFF and marker not in _ALONE:
            position += int.from_bytes(image[position : position + 2], "big")
    return None
