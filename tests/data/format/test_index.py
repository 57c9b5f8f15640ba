"""The index of a shard: its file's layout, what scanning finds, and what does not fit."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tfdml.data.format.index import Index, as_labels, index_path
from tfdml.data.format.record_file import RecordError, write_records
from tfdml.errors import DataError

RECORDS = [b"a" * n for n in (5, 0, 300)]


def shard(tmp_path, compression=""):
    path = tmp_path / "toy-train.tfrecord-00000-of-00001"
    write_records(path, RECORDS, compression)
    return path


def test_layout_of_the_file(tmp_path):
    path = shard(tmp_path)
    index = Index.scanned(path, label=len)
    assert len(index) == 3
    assert index_path(path) == tmp_path / "index" / f"{path.name}.idx"
    index.write(index_path(path))
    data = index_path(path).read_bytes()
    size = path.stat().st_size
    assert struct.unpack("<8sIIQQ", data[:32]) == (b"TFDMLIDX", 1, 1, 3, size)
    assert data[32:64] == bytes(32)
    assert np.frombuffer(data, "<u8", 4, 64).tolist() == [0, 21, 37, 353]
    assert np.frombuffer(data, "<i4", 3, 96).tolist() == [5, 0, 300]
    assert len(data) == 64 + 32 + 12 + 4


@pytest.mark.parametrize("compression", ["", "GZIP"])
@pytest.mark.parametrize("label", [None, len])
def test_round_trip(tmp_path, compression, label):
    path = shard(tmp_path, compression)
    made = Index.scanned(path, label)
    made.write(index_path(path))
    read = Index.of_shard(path)
    assert read.offsets.tolist() == made.offsets.tolist() == [0, 21, 37, 353]
    assert read.shard_bytes == path.stat().st_size
    assert read.is_gzip == bool(compression)
    assert (read.labels is None) if label is None else read.labels.tolist() == [5, 0, 300]


def test_a_shard_without_an_index_is_scanned(tmp_path):
    path = shard(tmp_path)
    assert Index.of_shard(path).offsets.tolist() == [0, 21, 37, 353]
    assert not index_path(path).exists()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordError, match="ends within record 2"):
        Index.of_shard(path)


def test_an_index_that_does_not_fit(tmp_path):
    path = shard(tmp_path)
    Index.scanned(path).write(index_path(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="has 352 bytes and should have 353"):
        Index.of_shard(path)


def test_damaged_and_newer_indexes(tmp_path):
    data = Index.scanned(shard(tmp_path), len).to_bytes()
    for bad in (data[:-1], data + b"\0", data[:70] + b"\1" + data[71:]):
        with pytest.raises(DataError, match=r"x\.idx: damaged"):
            Index.from_bytes(bad, "x.idx")
    with pytest.raises(DataError, match="no index of a shard"):
        Index.from_bytes(b"hello")
    with pytest.raises(DataError, match=r"version 7, this tfdml reads version 1\. Use a newer"):
        Index.from_bytes(data[:8] + struct.pack("<I", 7) + data[12:])


def test_labels_that_do_not_fit():
    assert as_labels([-(2**31), 2**31 - 1]).tolist() == [-(2**31), 2**31 - 1]
    with pytest.raises(DataError, match="fit into 32 bits, got 0 to 2147483648"):
        as_labels([0, 2**31])
    with pytest.raises(DataError, match="2 records, but 1 labels"):
        Index(np.array([0, 16, 32], np.uint64), 32, np.zeros(1, np.int32))
    with pytest.raises(DataError, match="last offset is 32, the size of the shard 33"):
        Index(np.array([0, 16, 32], np.uint64), 33)
