"""Shards: names, whole files, and every record read once however many pipelines there are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple

import pytest

from tfdml.data.shards import (
    check_names,
    find_shards,
    parse_shard_name,
    part_of,
    read_records,
    shard_name,
    write_shards,
)
from tfdml.errors import ConfigError, DataError


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


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("digits-train.tfrecord-00000-of-00004", ("digits", "train", 0, 4)),
        ("my-set-my_split.tfrecord-123456-of-200000", ("my-set", "my_split", 123456, 200000)),
        ("train-00003-of-01024", ("", "train", 3, 1024)),
        ("validation-00003-of-00016.tfrecord", ("", "validation", 3, 16)),
        ("coco_val-00003-of-00016.tfrecord", ("coco", "val", 3, 16)),
        ("coco-train-00003-of-00016.tfrecords", ("coco", "train", 3, 16)),
        ("wiki-00003-of-00016.tfrecord", ("", "wiki", 3, 16)),
        ("train.tfrecord", ("", "train", 0, 1)),
        ("toy-test.tfrecords.gz", ("toy", "test", 0, 1)),
        ("manifest.json", None),
        ("index/toy-train.tfrecord-00000-of-00004.idx", None),
        ("toy-train.tfrecord-00000-of-00004.idx", None),
        (".toy-train.tfrecord-00000-of-00004.abc.partial", None),
        ("toy-train.array_record-00000-of-00004", None),
    ],
)
def test_names_of_both_conventions(file, expected):
    parsed = parse_shard_name(file)
    assert (parsed and astuple(parsed)) == expected


@pytest.mark.parametrize("pattern", ["train-{:05d}-of-00003", "toy-train-{:05d}-of-00003.tfrecord"])
def test_shards_of_the_model_garden(tmp_path, pattern):
    for number in (2, 0, 1):
        (tmp_path / pattern.format(number)).write_bytes(b"")
    assert [file.name for file in find_shards(tmp_path, "train")] == [
        pattern.format(number) for number in range(3)
    ]
    (tmp_path / pattern.format(1)).rename(tmp_path / "other-train-00001-of-00003.tfrecord")
    with pytest.raises(DataError, match="2 conversions"):
        find_shards(tmp_path, "train")


def test_two_files_for_one_shard(tmp_path):
    for name in ("train-00000-of-00001", "train-00000-of-00001.tfrecord"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="2 files for 1 shards"):
        find_shards(tmp_path, "train")


def test_names_that_cannot_be():
    check_names("my data-set.v2", ["train", "test_2"])
    for name in ("", "a/b", ".hidden", "{x}", "a*"):
        with pytest.raises(ConfigError, match="Choose another with --name"):
            check_names(name, ["train"])
    for split in ("", "my-split", "x.y", "all", "a b"):
        with pytest.raises(ConfigError, match="letters, digits and underscores"):
            check_names("toy", [split])


def test_importing_the_module_does_not_import_tensorflow():
    code = "import sys, tfdml.data.shards; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
