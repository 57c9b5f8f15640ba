"""Image folders: classes from directories, files as they are, and what is no image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.data.inputs.reading import opened, read
from tfdml.data.format.features import Feature
from tfdml.errors import ConfigError, DataError


def encoded(pixels=None, format="PNG") -> bytes:
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in ("dog/2.png", "cat/1.png", "cat/0.jpg"):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(format="JPEG" if name.endswith("jpg") else "PNG"))
    return tmp_path / "images"


@pytest.mark.parametrize("pattern", ["", "/*/*", "/**/*.*g"])
def test_files_are_stored_as_they_are(folder, pattern):
    source = opened("image_folder", f"{folder}{pattern}")
    rows, bad = read(source)
    assert bad == []
    assert [row.key for row in rows] == ["cat/0.jpg", "cat/1.png", "dog/2.png"]
    assert [row.values["label"] for row in rows] == [0, 0, 1]
    for row in rows:
        assert row.values["image"] == (folder / row.key).read_bytes()
    assert source.schema == {
        "image": Feature("image", shape=(None, None, 3), encoding="jpeg"),
        "label": Feature("label", class_names=("cat", "dog")),
    }


def test_grey_images_are_declared_grey(folder):
    for file in folder.glob("*/*"):
        file.unlink()
    (folder / "cat" / "g.png").write_bytes(encoded(np.zeros((4, 4), np.uint8)))
    assert opened("image_folder", folder).schema["image"].shape == (None, None, 1)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "the file is empty"),
        (b"no image at all", "no image of a known format"),
        (encoded()[:-20], "the image is truncated"),
        (encoded(format="JPEG")[:-30], "the image is truncated"),
        (encoded()[:60], "the image is truncated"),
        (encoded(format="TIFF"), "a TIFF image, which TensorFlow does not read"),
    ],
)
def test_what_is_no_image_names_its_file_and_reading_goes_on(folder, content, reason):
    (folder / "cat" / "00.png").write_bytes(content)
    rows, bad = read(opened("image_folder", folder))
    assert len(rows) == 3
    assert bad[0].location == str(folder / "cat" / "00.png")
    assert reason in bad[0].reason
    assert bad[0].content == content


def test_a_damaged_byte_is_found(folder):
    damaged = bytearray(encoded())
    damaged[60] ^= 0xFF
    (folder / "cat" / "00.png").write_bytes(damaged)
    (row,) = read(opened("image_folder", folder))[1]
    assert "the image is damaged" in row.reason


def test_any_format_that_pillow_reads_when_it_is_encoded_again(folder):
    (folder / "cat" / "00.tif").write_bytes(encoded(format="TIFF"))
    assert read(opened("image_folder", folder, reencode=True))[1] == []


def test_image_shape_is_a_promise(folder):
    (folder / "dog" / "9.png").write_bytes(encoded(np.zeros((7, 5, 3), np.uint8)))
    source = opened("image_folder", folder, image_shape="6x5x3")
    assert source.schema["image"].shape == (6, 5, 3)
    rows, bad = read(source)
    assert len(rows) == 3
    assert bad[0].reason == "the image is 7x5 pixels, not 6x5"


def test_class_names_that_are_given_keep_their_order(folder):
    rows, bad = read(opened("image_folder", folder, class_names=("dog", "bird")))
    assert [row.values["label"] for row in rows] == [0]
    assert bad[0].reason == "the class 'cat' is not in --class_names"


def test_directories_named_after_splits_are_the_rows_splits(folder, tmp_path):
    (tmp_path / "all").mkdir()
    folder.rename(tmp_path / "all" / "train")
    (tmp_path / "all" / "val" / "cat").mkdir(parents=True)
    (tmp_path / "all" / "val" / "cat" / "x.png").write_bytes(encoded())
    source = opened("image_folder", tmp_path / "all")
    assert [row.split for row in read(source)[0]] == ["train"] * 3 + ["validation"]
    assert source.schema["label"].class_names == ("cat", "dog")


def test_many_files_are_several_fragments(folder, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.image_folder._FRAGMENT_FILES", 2)
    source = opened("image_folder", folder)
    fragments = source.fragments()
    assert [len(fragment.items) for fragment in fragments] == [2, 1]
    assert sum(f.size_bytes for f in fragments) == sum(f.size for f in source.files)
    assert len(read(source)[0]) == 3


def test_errors_say_what_to_do(folder, tmp_path):
    with pytest.raises(
        DataError, match=r"no file matches; a pattern looks like 'images/\*/\*.jpg'"
    ):
        opened("image_folder", tmp_path / "nothing" / "*")
    with pytest.raises(ConfigError, match="--input is missing"):
        opened("image_folder")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    with pytest.raises(DataError, match=r"has no file with .jpg or .*, but 1 of .txt"):
        opened("image_folder", tmp_path / "texts")
    (folder / "loose.png").write_bytes(encoded())
    with pytest.raises(DataError, match=r"loose.png: the image lies in no directory of its class"):
        opened("image_folder", folder)
    with pytest.raises(ConfigError, match="Did you mean 'image_folder'"):
        opened("imagefolder", folder)
    with pytest.raises(ConfigError, match=r"has no column 'lable'. Did you mean 'label'"):
        opened("image_folder", f"{folder}/*/*", drop=("lable",))
