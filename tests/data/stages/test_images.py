"""Images: sizes and encodings, against Pillow used by itself."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.data.inputs.test_image_folder import encoded
from tests.data.stages.applying import applied, rows_of
from tfdml.data.format.features import Feature
from tfdml.data.stages.from_flags import changes_images, stages_from_flags
from tfdml.data.stages.stage import schema_after
from tfdml.errors import ConfigError

PIXELS = np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8)
PNG = Feature("image", shape=(None, None, 3), encoding="png")


def changed(flags: dict, data: bytes) -> Image.Image:
    (row,), bad, _ = applied(flags, rows_of(i=[data]))
    assert bad == []
    image = Image.open(io.BytesIO(row.values["i"]))
    image.load()
    return image


def test_stretch_is_pillows_antialiased_resize():
    image = changed({"resize": ["i:10x8"]}, encoded(PIXELS))
    wanted = Image.fromarray(PIXELS).resize((8, 10), Image.Resampling.BILINEAR)
    assert image.format == "PNG"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(wanted))
    # Each pixel of the result takes in all pixels that it covers.
    halved = changed({"resize": ["i:1x1"]}, encoded(PIXELS))
    assert abs(np.asarray(halved).astype(int)[0, 0] - PIXELS.mean((0, 1))).max() < 12


@pytest.mark.parametrize(
    "flags, size, declared",
    [
        ({"resize": ["i:10"]}, (10, 15), (None, None)),
        ({"resize": ["i:10x10:crop"]}, (10, 10), (10, 10)),
        ({"resize": ["i:12x12:pad"]}, (12, 12), (12, 12)),
        ({"resize": ["i:40x10:crop"]}, (40, 10), (40, 10)),
        ({"resize": ["i:7x40:pad"]}, (7, 40), (7, 40)),
        ({"resize": ["i:10"], "center_crop": ["i:8x8"]}, (8, 8), (8, 8)),
        ({"center_crop": ["i:6x7"]}, (6, 7), (6, 7)),
    ],
)
def test_sizes_are_what_the_schema_says(flags, size, declared):
    image = changed(flags, encoded(PIXELS))
    assert (image.height, image.width) == size
    schema = schema_after(stages_from_flags(flags), {"i": PNG})
    assert schema == {"i": Feature("image", shape=(*declared, 3), encoding="png")}


def test_the_middle_is_cut_out():
    image = changed({"center_crop": ["i:10x20"]}, encoded(PIXELS))
    np.testing.assert_array_equal(np.asarray(image), PIXELS[5:15, 5:25])


def test_padding_is_black_and_around():
    image = np.asarray(changed({"resize": ["i:30x30:pad"]}, encoded(PIXELS)))
    np.testing.assert_array_equal(image[5:25], PIXELS)
    assert not image[:5].any() and not image[25:].any()


def test_encodings():
    image = changed({"encode": ["i:jpeg:80"]}, encoded(PIXELS))
    assert image.format == "JPEG"
    schema = schema_after(stages_from_flags({"encode": ["i:jpeg"]}), {"i": PNG})
    assert schema["i"].encoding == "jpeg"
    lossless = changed({"encode": ["i:png"]}, encoded(PIXELS, "TIFF"))
    np.testing.assert_array_equal(np.asarray(lossless), PIXELS)
    kept = changed({"resize": ["i:5x5"]}, encoded(PIXELS, "JPEG"))
    assert kept.format == "JPEG"


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_modes_become_what_tensorflow_reads(mode):
    file = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), 0x80FF, np.uint16))
    else:
        image = Image.fromarray(PIXELS).convert(mode)
    image.save(file, "TIFF" if mode == "CMYK" else "PNG")
    after = changed({"encode": ["i:png"]}, file.getvalue())
    assert after.mode == {"L": "L", "1": "L", "LA": "RGBA", "RGBA": "RGBA", "I;16": "L"}.get(
        mode, "RGB"
    )
    if mode == "I;16":
        assert np.asarray(after).max() == 0x80
    assert changed({"encode": ["i:jpeg"]}, file.getvalue()).mode in ("L", "RGB")


def test_the_same_bytes_every_time():
    rows = rows_of(i=[encoded(PIXELS), encoded(PIXELS)])
    (one, other), _, _ = applied({"resize": ["i:9x9"], "encode": ["i:jpeg"]}, rows)
    assert one.values == other.values


def test_what_cannot_be_changed_is_a_bad_row():
    rows = rows_of(i=[encoded(PIXELS), encoded(PIXELS)[:99], b"no", encoded(PIXELS[:3])])
    good, bad, _ = applied({"center_crop": ["i:5x5"]}, rows)
    assert len(good) == 1
    assert [row.location for row in bad] == ["f, row 1", "f, row 2", "f, row 3"]
    assert bad[0].reason == "feature 'i': the image is truncated"
    assert bad[1].reason == "feature 'i': no image of a known format"
    assert "3x30 pixels, fewer than the 5x5" in bad[2].reason
    assert bad[1].content == b"no"


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"resize": ["i"]}, "--resize=i: a feature and a value"),
        ({"resize": ["i:0x5"]}, "a size is HEIGHTxWIDTH"),
        ({"resize": ["i:5x5:cut"]}, "a size is HEIGHTxWIDTH"),
        ({"resize": ["i:5", "i:6"]}, "names the feature 'i' twice"),
        ({"center_crop": ["i:5"]}, "a size is HEIGHTxWIDTH"),
        ({"encode": ["i:gif"]}, "--encode=i:gif: it is i:png, i:jpeg"),
        ({"encode": ["i:png:90"]}, "quality of 1 to 100"),
        ({"encode": ["i:jpeg:101"]}, "quality of 1 to 100"),
        (
            {"encode": ["j:png"]},
            "there is no feature 'j'. Did you mean|there is no feature 'j'. There are",
        ),
        ({"resize": ["n:5x5"]}, "'n' is of the kind tensor, and this is for image"),
        (
            {"resize": ["i:4"], "center_crop": ["i:5x5"]},
            "is larger than the images, which have 4x4",
        ),
    ],
)
def test_errors(flags, message):
    with pytest.raises(ConfigError, match=message):
        schema_after(stages_from_flags(flags), {"i": PNG, "n": Feature("tensor")})


def test_changes_images():
    assert changes_images({"encode": ["i:png"]})
    assert not changes_images({"cast": ["x:int8"], "resize": []})
