"""Names of shards, and which files make a split."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from tfdml.data.format.shards import (
    check_names,
    find_shards,
    parse_shard_name,
    shard_name,
)
from tfdml.errors import ConfigError, DataError


def make_shards(directory: Path, count: int) -> None:
    for index in range(count):
        (directory / shard_name("toy", "train", index, count)).touch()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="no such directory"):
        find_shards(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="no shards at all"):
        find_shards(tmp_path, "train")
    make_shards(tmp_path, 4)
    assert [file.name for file in find_shards(tmp_path, "train")] == [
        f"toy-train.tfrecord-0000{index}-of-00004" for index in range(4)
    ]
    with pytest.raises(DataError, match="'test', there are the splits train"):
        find_shards(tmp_path, "test")
    (tmp_path / shard_name("toy", "train", 2, 4)).unlink()
    with pytest.raises(DataError, match="lacks 1 of 4 shards, the first is number 00002"):
        find_shards(tmp_path, "train")
    make_shards(tmp_path, 2)
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
    code = "import sys, tfdml.data.format.shards; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
