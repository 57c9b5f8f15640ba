"""Shards: names, whole files, and every record read once however many pipelines there are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tfdml.data.shards import find_shards, part_of, read_records, shard_name, write_shards
from tfdml.errors import DataError


def records(count: int) -> list[bytes]:
    return [b"record %d" % i for i in range(count)]


def read(files, **part) -> list[bytes]:
    return [record.numpy() for record in read_records(files, **part)]


def test_written_shards_are_balanced_and_complete(tmp_path):
    lengths = write_shards(tmp_path, "toy", "train", records(10), 4)
    assert lengths == [3, 3, 2, 2]
    files = find_shards(tmp_path, "train")
    assert [file.name for file in files] == [shard_name("toy", "train", i, 4) for i in range(4)]
    assert files[0].name == "toy-train.tfrecord-00000-of-00004"
    assert sorted(read(files)) == sorted(records(10))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("num_shards", [1, 3, 20])
@pytest.mark.parametrize("num_pipelines", [1, 2, 3, 5])
def test_pipelines_together_read_every_record_once(tmp_path, num_shards, num_pipelines):
    write_shards(tmp_path, "toy", "train", records(41), num_shards)
    files = find_shards(tmp_path, "train")
    parts = [
        read(files, num_pipelines=num_pipelines, pipeline_index=i) for i in range(num_pipelines)
    ]
    assert sorted(record for part in parts for record in part) == sorted(records(41))
    assert all(parts)
    assert parts[-1] == read(files, num_pipelines=num_pipelines, pipeline_index=num_pipelines - 1)


def test_fewer_files_than_pipelines_divides_the_records():
    assert part_of(4, 4, 1) == (range(1, 4, 4), None)
    assert part_of(3, 4, 1) == (range(3), (4, 1))
    with pytest.raises(DataError, match=r"\[0, 4\), got 4"):
        part_of(3, 4, 4)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def broken():
        yield b"one"
        raise OSError("the source went away")

    with pytest.raises(OSError, match="went away"):
        write_shards(tmp_path, "toy", "train", broken(), 2)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="no such directory"):
        find_shards(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="no shards at all"):
        find_shards(tmp_path, "train")
    write_shards(tmp_path, "toy", "train", records(4), 4)
    with pytest.raises(DataError, match="'test', there are the splits train"):
        find_shards(tmp_path, "test")
    (tmp_path / shard_name("toy", "train", 2, 4)).unlink()
    with pytest.raises(DataError, match="lacks 1 of 4 shards, the first is number 00002"):
        find_shards(tmp_path, "train")
    write_shards(tmp_path, "toy", "train", records(4), 2)
    with pytest.raises(DataError, match="2 conversions"):
        find_shards(tmp_path, "train")


def test_importing_the_module_does_not_import_tensorflow():
    code = "import sys, tfdml.data.shards; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
