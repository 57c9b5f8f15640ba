"""HDF5 and NumPy files: the arrays that h5py and NumPy read, cut into fragments, with splits by name."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.data.inputs.reading import opened, read, values
from tfdml.data.format.features import Feature
from tfdml.data.inputs.array_sets import by_split
from tfdml.errors import ConfigError, DataError

N = 50
GENERATOR = np.random.default_rng(0)
ARRAYS = {
    "x": GENERATOR.normal(size=(N, 3, 2)).astype(np.float32),
    "d": GENERATOR.normal(size=N),
    "y": GENERATOR.integers(0, 5, N),
    "small": GENERATOR.integers(0, 255, (N, 4), np.uint8),
    "ok": GENERATOR.integers(0, 2, N).astype(bool),
}
WORDS = [f"Köln {n}" for n in range(N)]


def write_hdf5(path, arrays=ARRAYS, **options):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
    return path


def write_npz(path, arrays=ARRAYS):
    np.savez(path, **arrays)
    return path


def write_compressed(path, arrays=ARRAYS):
    np.savez_compressed(path, **arrays)
    return path


def write_npy(path, arrays=ARRAYS):
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


FORMATS = [
    ("hdf5", "t.h5", write_hdf5),
    ("numpy", "t.npz", write_npz),
    ("numpy", "c.npz", write_compressed),
    ("numpy", "directory", write_npy),
]


@pytest.mark.parametrize("format, name, write", FORMATS)
def test_values_are_those_of_the_arrays(tmp_path, monkeypatch, format, name, write):
    monkeypatch.setattr("tfdml.data.inputs.arrays._FRAGMENT_BYTES", 300)
    monkeypatch.setattr("tfdml.data.inputs.arrays._BLOCK_BYTES", 120)
    source = opened(format, write(tmp_path / name))
    assert source.schema == {
        n: Feature("tensor", a.dtype.name, a.shape[1:]) for n, a in ARRAYS.items()
    }
    assert len(source.fragments()) > 5
    rows = values(source)
    for feature, array in ARRAYS.items():
        read_back = np.stack([row[feature] for row in rows])
        assert read_back.dtype == array.dtype
        np.testing.assert_array_equal(read_back, array)


@pytest.mark.parametrize("format, name, write", FORMATS)
def test_labels_casts_and_keys(tmp_path, format, name, write):
    source = opened(
        format,
        write(tmp_path / name),
        label="y",
        features=("d:float16",),
        select=("d", "y"),
        key="small",
    )
    assert source.schema["y"] == Feature("label")
    rows, _ = read(source)
    assert [row.values["y"] for row in rows] == ARRAYS["y"].tolist()
    assert rows[0].key == str(ARRAYS["small"][0])
    np.testing.assert_array_equal([row.values["d"] for row in rows], ARRAYS["d"].astype(np.float16))


def test_texts(tmp_path):
    write_hdf5(tmp_path / "t.h5", {"w": WORDS, "fixed": np.array([b"ab", b"c"] * 25)})
    rows = values(opened("hdf5", tmp_path / "t.h5"))
    assert [row["w"].decode() for row in rows] == WORDS
    assert [row["fixed"] for row in rows] == [b"ab", b"c"] * 25
    np.savez(tmp_path / "t.npz", w=WORDS)
    source = opened("numpy", tmp_path / "t.npz")
    assert source.schema == {"w": Feature("text")}
    assert [row["w"].decode() for row in values(source)] == WORDS
    named = opened("numpy", tmp_path / "t.npz", label="w")
    assert [named.schema["w"].class_names[row["w"]] for row in values(named)] == WORDS


def test_pixels_become_png(tmp_path):
    for shape in ((5, 4, 3), (5, 4, 1), (5, 4)):
        pixels = GENERATOR.integers(0, 255, (N, *shape), np.uint8)
        np.savez(tmp_path / "t.npz", image=pixels)
        source = opened("numpy", tmp_path / "t.npz", features=("image:image",))
        assert source.schema["image"] == Feature("image", shape=(*shape, 1)[:3], encoding="png")
        for row, wanted in zip(values(source), pixels, strict=True):
            found = np.asarray(Image.open(io.BytesIO(row["image"])))
            np.testing.assert_array_equal(found, wanted.squeeze())


def test_encoded_images_stay_as_they_are(tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(file, "JPEG")
    with h5py.File(tmp_path / "t.h5", "w") as h5:
        data = h5.create_dataset("i", (2,), h5py.vlen_dtype(np.uint8))
        data[0] = np.frombuffer(file.getvalue(), np.uint8)
        data[1] = np.frombuffer(file.getvalue()[:99], np.uint8)
    rows, bad = read(opened("hdf5", tmp_path / "t.h5", features=("i:image",)))
    assert [row.values["i"] for row in rows] == [file.getvalue()]
    assert bad[0].location == f"{tmp_path}/t.h5, index 1"
    assert bad[0].reason.startswith("array 'i': the image is truncated")


def test_splits_by_name(tmp_path):
    arrays = {
        "x_train": np.arange(6),
        "y_train": np.arange(6),
        "x_test": np.arange(2),
        "y_test": np.arange(2),
    }
    write_npz(tmp_path / "t.npz", arrays)
    rows, _ = read(opened("numpy", tmp_path / "t.npz", label="y"))
    assert [row.split for row in rows] == ["train"] * 6 + ["test"] * 2
    assert set(rows[0].values) == {"x", "y"}
    assert rows[-1].key == "t.npz#test#1"
    write_hdf5(tmp_path / "t.h5", {"train/x": np.arange(3), "val/x": np.arange(4)})
    rows, _ = read(opened("hdf5", tmp_path / "t.h5"))
    assert sorted({row.split for row in rows}) == ["train", "validation"]


def test_names_that_only_look_like_splits():
    assert by_split(["x", "y_train"]) == {"": {"x": "x", "y_train": "y_train"}}
    assert by_split(["x_train", "y_train"]) == {"": {"x_train": "x_train", "y_train": "y_train"}}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("write", [write_npz, write_compressed])
def test_both_memory_orders(tmp_path, order, write):
    array = np.asarray(GENERATOR.normal(size=(9, 4)), order=order)
    rows = values(opened("numpy", write(tmp_path / "t.npz", {"x": array})))
    np.testing.assert_array_equal([row["x"] for row in rows], array)


def test_hdf5_fragments_are_whole_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.arrays._FRAGMENT_BYTES", 100)
    arrays = {"x": np.arange(N, dtype=np.float64)}
    write_hdf5(tmp_path / "t.h5", arrays, chunks=(8,), compression="gzip")
    source = opened("hdf5", tmp_path / "t.h5")
    assert [f.start % 8 for f in source.fragments()] == [0] * len(source.fragments())
    np.testing.assert_array_equal([row["x"] for row in values(source)], arrays["x"])


def test_a_value_that_does_not_fit_is_a_bad_row(tmp_path):
    np.savez(tmp_path / "t.npz", n=np.array([1, 300]), y=np.array([0, -1]))
    source = opened("numpy", tmp_path / "t.npz", features=("n:uint8",))
    assert read(source)[1][0].reason == "array 'n': a number does not fit into uint8"
    source = opened("numpy", tmp_path / "t.npz", label="y")
    assert read(source)[1][0].reason == "array 'y': the label -1 is none of 0 and up"


def test_a_damaged_array_names_its_rows_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.arrays._BLOCK_BYTES", 400)
    file = write_compressed(tmp_path / "t.npz", {"x": GENERATOR.normal(size=1000)})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    rows, bad = read(opened("numpy", file))
    assert 0 < len(rows) < 1000
    assert bad[0].location.startswith(f"{file}, indices {len(rows)} to ")
    assert "the file is damaged" in bad[0].reason


def test_a_flipped_bit_of_a_mapped_array_is_found(tmp_path):
    file = write_npz(tmp_path / "t.npz", {"x": np.zeros(1000)})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="the array 'x' does not fit its checksum"):
        read(opened("numpy", file))


def test_errors(tmp_path):
    np.savez(
        tmp_path / "t.npz", a=np.zeros(3), b=np.zeros(4), c=np.float32(1), z=np.zeros(3, complex)
    )
    file = tmp_path / "t.npz"
    with pytest.raises(DataError, match=r"'a' has 3 rows and 'b' has 4"):
        opened("numpy", file, select=("a", "b"))
    with pytest.raises(DataError, match=r"'c' is a single value.*--drop=c"):
        opened("numpy", file)
    with pytest.raises(DataError, match=r"'z' holds complex128"):
        opened("numpy", file, select=("a", "z"))
    with pytest.raises(DataError, match=r"'a' is float64 \[3\]; images are uint8"):
        opened("numpy", file, select=("a",), features=("a:image",))
    np.savez(file, a=np.array([{}, 1], object))
    with pytest.raises(DataError, match="Python objects"):
        opened("numpy", file)
    file.write_bytes(b"PK\x03\x04 no")
    with pytest.raises(DataError, match=r"t.npz: no NumPy file that can be read"):
        opened("numpy", file)
    (tmp_path / "t.h5").write_bytes(b"no")
    with pytest.raises(DataError, match=r"t.h5: no HDF5 file that can be read"):
        opened("hdf5", tmp_path / "t.h5")
    with pytest.raises(ConfigError, match="reads local files only"):
        opened("hdf5", "s3://bucket/t.h5")
    big_endian = np.arange(3, dtype=">f4")
    (row, *_) = values(opened("numpy", write_npz(tmp_path / "e.npz", {"a": big_endian})))
    assert row["a"].dtype == np.float32 and row["a"].dtype.isnative
    write_npz(tmp_path / "u.npz", {"a": np.zeros((3, 2))})
    write_npz(tmp_path / "v.npz", {"a": np.zeros((3, 1))})
    with pytest.raises(DataError, match=r"v.npz: rows of 'a' are float64 \[1\]"):
        opened("numpy", tmp_path / "u.npz", tmp_path / "v.npz")
