"""Records by number: the native op and the reference read the same, and name what is damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.data.record_files import record, write_shards
from tfdml.data import unpacked
from tfdml.data.format.index import Index, index_path
from tfdml.data.read_errors import data_errors
from tfdml.data.records import RecordSet, Shard
from tfdml.errors import DataError
from tfdml.native import loader
from tfdml.testing import run_in_process

SIZES = (7, 0, 100, 1, 40)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """What is kept goes to a directory of the test's own; native ops are loaded before."""
    loader.ops()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tfdml" / "shards"


@pytest.fixture(params=["native", "reference"])
def way(request, monkeypatch) -> str:
    if request.param == "reference":
        monkeypatch.setenv("TFDML_NATIVE", "off")
    elif loader.ops() is None:
        pytest.skip("no compiler")
    return request.param


def read(records: RecordSet, ids) -> list[bytes]:
    @tf.function
    def in_graph(ids: tf.Tensor) -> tf.Tensor:
        epoch = step = tf.constant(0, tf.int64)
        return records.read(ids, epoch, step)

    with data_errors():
        return list(in_graph(tf.constant(ids, tf.int64)).numpy())


IDS = {
    "all, in order": range(sum(SIZES)),
    "all, mixed": np.random.default_rng(0).permutation(sum(SIZES)),
    "some twice": [5, 140, 5, 0, 147, 140, 7, 106, 107, 108],
    "one": [108],
    "none": [],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_records_come_in_the_order_that_is_asked_for(tmp_path, way, ids):
    records = RecordSet.of_files(write_shards(tmp_path, SIZES))
    assert records.num_records == sum(SIZES) and records.shard_sizes == SIZES
    expected = [record(i) for i in ids]
    assert read(records, ids) == expected
    assert records.read_now(ids) == expected


def test_in_a_pipeline_from_several_threads(tmp_path, way):
    records = RecordSet.of_files(write_shards(tmp_path, SIZES))
    ids = np.random.default_rng(1).integers(0, records.num_records, [200, 16])
    data = tf.data.Dataset.from_tensor_slices(ids).map(
        lambda ids: records.read(ids, None, None), num_parallel_calls=4
    )
    assert data.element_spec.shape == [16]
    for batch, wanted in zip(data.as_numpy_iterator(), ids, strict=True):
        assert list(batch) == [record(i) for i in wanted]


def read_many_shards(directory: str) -> int:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))  # a quarter of them for shards
    records = RecordSet.of_files(write_shards(Path(directory), [3] * 100))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        ids = range(records.num_records)
        assert read(records, ids) == [record(i) for i in ids]
    return len(os.listdir("/proc/self/fd")) - before


@pytest.mark.slow
def test_more_shards_than_stay_open(tmp_path):
    assert run_in_process(read_many_shards, args=(str(tmp_path),)) <= 2 * 50


def test_a_record_that_is_damaged_is_named(tmp_path, way):
    paths = write_shards(tmp_path, SIZES)
    offset = int(Index.scanned(paths[2]).offsets[33])
    content = bytearray(paths[2].read_bytes())
    content[offset + 12] ^= 1
    paths[2].write_bytes(content)
    records = RecordSet.of_files(paths)
    good = [i for i in range(sum(SIZES)) if i != 7 + 33]
    assert read(records, good) == [record(i) for i in good]
    message = (
        f"^{paths[2]}: record 33 at byte {offset} does not fit its checksum; the file is damaged.$"
    )
    for ids in ([40], range(sum(SIZES)), [146, 40, 3]):
        with pytest.raises(DataError, match=message):
            read(records, ids)


def test_a_shard_that_has_gone_or_changed_is_named(tmp_path, way):
    paths = write_shards(tmp_path / "data", SIZES)
    records = RecordSet.of_files(paths)
    shutil.move(paths[0], tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=f"^{paths[0]}: cannot be (opened|read) \\(.*[Nn]o such file"
    ):
        read(records, [0])
    shutil.copy(paths[4], paths[0])
    with pytest.raises(DataError, match="Was the shard replaced or cut short"):
        read(records, [0])
    with pytest.raises(DataError, match="Was the shard replaced or cut short"):
        RecordSet.of_files(paths)


def test_a_shard_that_becomes_shorter_while_it_is_read_is_an_error(tmp_path, way):
    paths = write_shards(tmp_path, (3000,))
    records = RecordSet.of_files(paths)
    assert read(records, [2999]) == [record(2999)]
    os.truncate(paths[0], 4096)
    with pytest.raises(DataError, match=f"^{paths[0]}: "):
        read(records, [2500])


def test_numbers_that_there_are_not(tmp_path, way):
    records = RecordSet.of_files(write_shards(tmp_path, SIZES))
    for ids in ([0, 148], [-1]):
        with pytest.raises(
            DataError, match=r"there is no record (148|-1): they are numbered 0 to 147"
        ):
            read(records, ids)


def test_an_index_is_made_beside_the_shard_or_in_the_cache(tmp_path, cache, monkeypatch):
    paths = write_shards(tmp_path / "data", (5, 5))
    Index.scanned(paths[0]).write(index_path(paths[0]))
    written = index_path(paths[0]).stat().st_mtime_ns
    records = RecordSet.of_files(paths)
    assert index_path(paths[0]).stat().st_mtime_ns == written
    assert [Path(shard.index) for shard in records.shards] == [index_path(path) for path in paths]

    shutil.rmtree(tmp_path / "data" / "index")
    (tmp_path / "data" / "index").write_text("a directory cannot be made here")
    there = Path(Shard.of_file(paths[1]).index)
    assert there.parent == cache
    scanned = []
    monkeypatch.setattr(unpacked.Index, "scanned", lambda shard: scanned.append(shard))
    assert Path(Shard.of_file(paths[1]).index) == there and not scanned
    assert RecordSet((Shard.of_file(paths[1]),)).read_now([0]) == [record(5)]


def test_a_replaced_shard_gets_another_index_in_the_cache(tmp_path, cache):
    path = tmp_path / "x-train.tfrecord-00000-of-00001"
    (tmp_path / "index").write_text("a directory cannot be made here")
    shutil.copy(write_shards(tmp_path / "a", (5,))[0], path)
    assert RecordSet.of_files([path]).num_records == 5
    shutil.copy(write_shards(tmp_path / "b", (6,))[0], path)
    assert RecordSet.of_files([path]).num_records == 6


@pytest.mark.parametrize("damage", ["short", "no index", "other shard"])
def test_an_index_that_does_not_fit(tmp_path, damage):
    (path,) = write_shards(tmp_path, (5,))
    index = index_path(path)
    RecordSet.of_files([path])
    content = index.read_bytes()
    other = Index(np.array([0, 30], np.uint64), 30).to_bytes()
    index.write_bytes({"short": content[:-9], "no index": b"x" * 200, "other shard": other}[damage])
    with pytest.raises(DataError, match=str(index)):
        RecordSet.of_files([path])


def test_compressed_shards_are_unpacked_once_with_a_notice(tmp_path, way, cache, caplog):
    paths = write_shards(tmp_path, (30, 20), compression="GZIP")
    records = RecordSet.of_files(paths)
    ids = np.random.default_rng(0).permutation(50)
    assert read(records, ids) == [record(i) for i in ids]
    notices = [message for message in caplog.messages if "cannot be read by offset" in message]
    assert len(notices) == 2 and str(paths[0]) in notices[0]
    caplog.clear()
    assert RecordSet.of_files(paths).read_now([49]) == [record(49)]
    assert not caplog.messages


def test_a_compressed_shard_that_is_damaged(tmp_path, cache):
    (path,) = write_shards(tmp_path, (300,), compression="GZIP")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path}: cannot be unpacked"):
        RecordSet.of_files([path])


def test_sets_can_be_put_together_and_know_their_labels(tmp_path):
    parts = []
    for name, sizes in (("a", (3, 2)), ("b", (4,))):
        paths = write_shards(tmp_path / name, sizes)
        for path, size in zip(paths, sizes, strict=True):
            index = Index.scanned(path)
            Index(index.offsets, index.shard_bytes, np.arange(size)).write(index_path(path))
        parts.append(RecordSet.of_files(paths))
    both = parts[0] + parts[1]
    assert both.num_records == 9
    assert both.read_now([4, 5, 8]) == [record(4), record(0), record(3)]
    assert both.labels().tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    shards, numbers = both.locate([0, 3, 8])
    assert (shards.tolist(), numbers.tolist()) == ([0, 1, 2], [0, 0, 3])
    without = RecordSet.of_files(write_shards(tmp_path / "c", (1,)))
    assert (both + without).labels() is None


def test_no_records_at_all(tmp_path):
    with pytest.raises(DataError, match="no record in 2 shards"):
        RecordSet.of_files(write_shards(tmp_path, (0, 0)))
    with pytest.raises(DataError, match="missing: cannot be read"):
        RecordSet.of_files([tmp_path / "missing"])
