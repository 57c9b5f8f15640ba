"""The quick check of PNGs says yes only where Pillow does, for images of every kind and damage of every kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tfdml.data.inputs.images import check_image, read_header
from tfdml.data.inputs.png import whole_png

PIXELS = np.random.default_rng(0).integers(0, 255, (13, 9, 3), np.uint8)


def png(mode: str, **options) -> bytes:
    file = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 255)
    else:
        image = Image.fromarray(PIXELS).convert(mode)
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"transparency": 0}])
def test_the_header_is_the_one_that_pillow_reads(mode, options):
    if "transparency" in options and mode in ("LA", "RGBA", "RGB", "I;16"):
        options = {}
    data = png(mode, **options)
    assert whole_png(data) is not None
    assert ("PNG", *whole_png(data)) == tuple(read_header(data))


def test_every_byte_counts():
    data = png("RGB")
    yes = 0
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        yes += whole_png(bytes(damaged)) is not None
        assert whole_png(data[:at]) is None
    assert yes == 0


def test_bytes_behind_the_end_are_allowed_as_pillow_allows_them():
    data = png("L") + b"\n"
    assert whole_png(data) is not None
    check_image(data)


def test_what_it_does_not_know_is_decoded():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG")
    assert whole_png(file.getvalue()) is None
    assert check_image(file.getvalue()).format == "JPEG"
    assert whole_png(b"") is None


def test_a_palette_is_needed_and_pixels_may_be_too_few():
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    def image(colour: int, raw: bytes) -> bytes:
        header = struct.pack(">II5B", 2, 2, 8, colour, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(raw))
            + chunk(b"IEND", b"")
        )

    assert whole_png(image(0, bytes(6))) == (2, 2, 1)
    assert whole_png(image(0, bytes(5))) is None
    assert whole_png(image(0, bytes(7))) is None
    assert whole_png(image(0, b"\x05" + bytes(5))) is None  # there is no filter 5
    assert whole_png(image(3, bytes(6))) is None
    assert whole_png(image(1, bytes(6))) is None
    with pytest.raises(ValueError):
        check_image(image(0, bytes(2)))
