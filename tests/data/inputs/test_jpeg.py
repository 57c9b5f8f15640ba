"""The quick check of JPEGs against Pillow: the same headers, no truncated file is whole, and nothing that a
decoder refuses."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from tfdml.data.inputs.images import check_image, read_header
from tfdml.data.inputs.jpeg import whole_jpeg

PIXELS = (np.kron(np.random.default_rng(0).random((5, 4, 3)), np.ones((8, 8, 1))) * 255).astype(
    np.uint8
)
KINDS = [
    {},
    {"quality": 30, "optimize": True},
    {"subsampling": 0, "restart_marker_blocks": 2},
    {"comment": b"\xff\xd9 a comment with an end in it", "exif": b"Exif\x00\x00\xff\xd8\xff\xd9"},
]


def jpeg(mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def decodes(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:
        return False
    return True


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_header_is_the_one_that_pillow_reads(mode, options):
    data = jpeg(mode, **options)
    assert ("JPEG", *whole_jpeg(data)) == tuple(read_header(data))
    assert whole_jpeg(data + b"\0\0") is not None  # bytes behind the end


@pytest.mark.parametrize("options", KINDS)
def test_no_file_that_was_cut_off_is_whole(options):
    data = jpeg(**options)
    end = data.rindex(b"\xff\xd9") + 2
    assert not any(whole_jpeg(data[:at]) for at in range(end))


@pytest.mark.parametrize("options", KINDS)
def test_what_is_whole_is_decoded(options):
    """Of damaged files too; a decoder takes damage among the pixels for pixels."""
    generator = random.Random(1)
    whole = 0
    original = jpeg(**options)
    for _ in range(600):
        data = bytearray(original)
        for _ in range(generator.randint(1, 3)):
            # Half of it among the tables.
            end = generator.choice((min(700, len(data)), len(data)))
            data[generator.randrange(end)] = generator.randrange(256)
        if whole_jpeg(bytes(data)):
            whole += 1
            assert decodes(bytes(data))
    assert whole > 50


def test_progressive_ones_are_decoded():
    data = jpeg(progressive=True)
    assert whole_jpeg(data) is None
    assert check_image(data) == read_header(data)
    with pytest.raises(ValueError, match="truncated"):
        check_image(data[:-40])


def test_what_it_does_not_know_is_decoded():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    assert whole_jpeg(file.getvalue()) is None
    for data in (b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\x00\x00\xff\xd9"):
        assert whole_jpeg(data) is None
        with pytest.raises(ValueError):
            check_image(data)


def test_an_image_that_tensorflow_does_not_decode():
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="65535x65535 pixels, more than TensorFlow decodes"):
        check_image(bytes(data))
