"""Whole conversions: every record is there once, balanced and shuffled; bytes depend on the settings alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.data.conversion.directories import contents, rows
from tests.data.conversion.fakes import CountedRows, Rows
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import convert
from tfdml.data.conversion.splits import Splits
from tfdml.data.format.index import Index, index_path

SPLITS = Splits({"train": 0.8, "test": 0.2})


def request(directory, input=None, **settings) -> Conversion:
    settings = {"num_shards": 3, "splits": SPLITS, **settings}
    return Conversion(input or Rows(), str(directory), "rows", **settings)


def test_every_row_is_there_once_in_balanced_shards(tmp_path):
    result = convert(request(tmp_path / "a"), num_processes=1)
    train, test = rows(tmp_path / "a", "train"), rows(tmp_path / "a", "test")
    both = sorted(train + test, key=lambda row: row["number"])
    assert both == [Rows().values(i) for i in range(1000)]
    assert 150 < len(test) < 250
    for split, number in (("train", len(train)), ("test", len(test))):
        of_shards = [shard.records for shard in result.manifest.splits[split]]
        assert sum(of_shards) == number
        assert max(of_shards) - min(of_shards) <= 1
    assert not (tmp_path / "a" / ".conversion").exists()


def test_manifest_tells_what_is_there(tmp_path):
    manifest = convert(request(tmp_path / "a", licence="CC0"), num_processes=1).manifest
    train = rows(tmp_path / "a", "train")
    assert manifest.label_histogram["train"]["label"] == Counter(row["label"] for row in train)
    summary = manifest.statistics["train"]["number"]["value"]
    assert summary.mean == pytest.approx(np.mean([row["number"] for row in train]))
    assert manifest.licence == "CC0"
    assert manifest.flags["seed"] == "0"
    for shard in manifest.splits["train"]:
        assert (tmp_path / "a" / shard.file).stat().st_size == shard.bytes


def test_indexes_have_offsets_and_labels(tmp_path):
    manifest = convert(request(tmp_path / "a"), num_processes=1).manifest
    labels = []
    for shard in manifest.splits["train"]:
        path = tmp_path / "a" / shard.file
        index = Index.read(index_path(path))
        assert index.offsets.tolist() == Index.scanned(path).offsets.tolist()
        labels += index.labels.tolist()
    assert labels == [row["label"] for row in rows(tmp_path / "a", "train")]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"compression": "GZIP"}, marks=pytest.mark.slow),
        pytest.param({"shuffle": False}, marks=pytest.mark.slow),
    ],
)
def test_same_bytes_for_any_number_of_processes(tmp_path, settings):
    for processes in (1, 2, 4):
        convert(request(tmp_path / str(processes), **settings), num_processes=processes)
    one = contents(tmp_path / "1")
    assert contents(tmp_path / "2") == one
    assert contents(tmp_path / "4") == one
    assert sum(".tfrecord-" in name for name in one) == 6 + 6  # with their indexes


def test_seed_makes_the_order_and_nothing_else(tmp_path):
    for seed in (0, 1):
        convert(request(tmp_path / str(seed), seed=seed), num_processes=1)
    first, second = rows(tmp_path / "0", "test"), rows(tmp_path / "1", "test")
    assert [row["number"] for row in first] != [row["number"] for row in second]
    assert {row["number"] for row in first} == {row["number"] for row in second}


def test_records_are_shuffled_through_the_whole_split(tmp_path):
    convert(request(tmp_path / "a", Rows(3000), splits=None), num_processes=1)
    numbers = np.array([row["number"] for row in rows(tmp_path / "a", "train")])
    # Of a random order, the correlation with the positions is some 1 / sqrt(3000) = 0.02.
    assert abs(np.corrcoef(numbers, np.arange(3000))[0, 1]) < 0.08
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.08


def test_without_shuffle_the_order_is_the_input_s(tmp_path):
    convert(request(tmp_path / "a", splits=None, shuffle=False), num_processes=2)
    assert [row["number"] for row in rows(tmp_path / "a", "train")] == list(range(1000))


def test_where_rows_are_counted_they_need_no_spill_files(tmp_path):
    one, two = ({"splits": None, "shuffle": False, "num_shards": 7} for _ in range(2))
    convert(request(tmp_path / "spilled", Rows(995), **one), num_processes=1)
    result = convert(request(tmp_path / "direct", CountedRows(995), **two), num_processes=2)
    assert contents(tmp_path / "direct") == contents(tmp_path / "spilled")
    assert result.manifest.label_histogram["train"]["label"] == {0: 332, 1: 332, 2: 331}


def test_own_splits_are_kept(tmp_path):
    convert(request(tmp_path / "a", Rows(splits=("train", "dev")), splits=None), num_processes=1)
    assert {row["number"] % 2 for row in rows(tmp_path / "a", "train")} == {0}
    assert {row["number"] % 2 for row in rows(tmp_path / "a", "dev")} == {1}


def test_stratified_splits_hold_their_part_of_every_class(tmp_path):
    splits = Splits({"train": 0.8, "test": 0.2}, stratify="label")
    convert(request(tmp_path / "a", splits=splits), num_processes=2)
    assert Counter(row["label"] for row in rows(tmp_path / "a", "test")) == {0: 66, 1: 66, 2: 66}
    again = rows(tmp_path / "a", "test")
    convert(request(tmp_path / "b", splits=splits, seed=5), num_processes=1)
    assert {row["number"] for row in rows(tmp_path / "b", "test")} == {
        row["number"] for row in again
    }


def test_many_groups_and_many_chunks_a_fragment(tmp_path):
    """16 MB of memory make groups and chunks of 1 MB; 6 MB of records."""
    input = Rows(3000, per_fragment=1500, text_bytes=2000)
    result = convert(
        request(tmp_path / "a", input, num_shards=2, memory_bytes=16 << 20, splits=None),
        num_processes=1,
    )
    assert [shard.records for shard in result.manifest.splits["train"]] == [1500, 1500]
    numbers = [row["number"] for row in rows(tmp_path / "a", "train")]
    assert sorted(numbers) == list(range(3000))
    assert abs(np.corrcoef(numbers, np.arange(3000))[0, 1]) < 0.08


def test_groups_that_outgrow_the_memory_are_read_record_by_record(tmp_path, monkeypatch):
    convert(request(tmp_path / "a"), num_processes=1)
    monkeypatch.setattr("tfdml.data.conversion.gather._GROUP_MAY_GROW", 0.0)
    convert(request(tmp_path / "b"), num_processes=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_shard_bytes_make_shards_of_about_that_size(tmp_path):
    input = Rows(2000, text_bytes=1000)
    result = convert(
        request(tmp_path / "a", input, num_shards=None, shard_bytes=300_000, splits=None),
        num_processes=1,
    )
    sizes = [shard.bytes for shard in result.manifest.splits["train"]]
    assert len(sizes) == 8
    assert all(240_000 < size <= 310_000 for size in sizes)


def test_fewer_records_than_shards_that_nobody_asked_for(tmp_path):
    result = convert(
        request(tmp_path / "a", Rows(3), num_shards=None, splits=None), num_processes=1
    )
    assert [shard.records for shard in result.manifest.splits["train"]] == [1, 1, 1]
