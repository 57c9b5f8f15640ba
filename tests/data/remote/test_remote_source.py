"""Training data out of S3, through a cache smaller than the set: the batches of the same set on a local disk."""

import dataclasses
import os
import uuid

import pytest
import tensorflow as tf

from tests.data.remote.data_sets import write_set
from tfdml.checkpoint import Position
from tfdml.data.order import Order, Slice
from tfdml.data.read_errors import data_errors
from tfdml.data.records import RecordSet
from tfdml.data.remote.shard_cache import ShardCache
from tfdml.data.source import Source
from tfdml.errors import ConfigError, DataError
from tfdml.storage import storage_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    directory = tmp_path_factory.mktemp("local")
    write_set(storage_for(directory), 10, 40)
    return RecordSet.open(directory, "train")


@pytest.fixture
def remote(s3, tmp_path):
    """Half of the set fits."""
    url = s3.url(uuid.uuid4().hex)
    written = write_set(storage_for(url), 10, 40)
    sizes = [
        storage_for(url).size(name) for name in storage_for(url).names() if "index" not in name
    ]
    return RecordSet.open(url, "train", cache=ShardCache(tmp_path, sum(sizes) // 2)), written


def order_of(records, shuffle="shards"):
    return Order(
        records.num_records, 32, 7, shuffle, shard_sizes=records.shard_sizes, window_shards=2
    )


def batches(records, first, count, shuffle="shards", part=None):
    order = order_of(records, shuffle)
    epoch, step = divmod(first, order.steps_per_epoch)
    data = Source(records, order).dataset(Position(epoch, step, first), part or Slice())
    return [batch.numpy().tolist() for batch in data.take(count)]


@pytest.mark.parametrize("shuffle", ["shards", "none"])
def test_the_same_batches_as_from_a_local_disk(local, remote, shuffle):
    records, written = remote
    steps = order_of(records).steps_per_epoch
    found = batches(records, 0, 2 * steps, shuffle)
    assert found == batches(local, 0, 2 * steps, shuffle)
    assert sorted(r for batch in found[:steps] for r in batch) == sorted(written)
    cache = records.staged.cache
    assert cache.used_bytes() <= cache.limit_bytes


@pytest.mark.parametrize("form", [{"indexes": False}, {"compression": "GZIP"}])
def test_shards_without_index_and_compressed_ones(s3, local, tmp_path, form):
    url = s3.url(uuid.uuid4().hex)
    write_set(storage_for(url), 10, 40, **form)
    limit_bytes = sum(os.path.getsize(shard.path) for shard in local.shards) // 2
    records = RecordSet.open(url, "train", cache=ShardCache(tmp_path, limit_bytes))
    assert batches(records, 0, 20) == batches(local, 0, 20)


def test_remote_and_local_records_put_together(local, remote):
    records, _ = remote
    everything = ShardCache(records.staged.cache.directory, 10**8)
    records = dataclasses.replace(
        records, staged=dataclasses.replace(records.staged, cache=everything)
    )
    both, expected = records + local + records, local + local + local
    assert batches(both, 3, 5) == batches(expected, 3, 5)
    assert batches(both, 0, 3, "full") == batches(expected, 0, 3, "full")


def test_examples_of_remote_records_are_cached(local, remote):
    records, _ = remote
    found = []
    for each in (records, local):
        order = order_of(each)
        source = Source(each, order, parse=lambda r: tf.strings.length(r), cache="memory")
        data = source.dataset(Position(0, 0, 0), Slice()).take(5)
        found.append([batch.numpy().tolist() for batch in data])
    assert found[0] == found[1]


def test_going_on_in_the_middle_of_an_epoch(s3, local, remote, tmp_path):
    records, _ = remote
    first = order_of(records).steps_per_epoch + 5
    assert batches(records, first, 4) == batches(local, first, 4)
    before = s3.requests("GET", records.staged.entries[0].name.split("/")[3] + "/set-train")
    assert 0 < len(before) < 10, "only what was needed, and some ahead"


def test_two_slices_are_the_global_batch(local, remote):
    records, _ = remote
    parts = [batches(records, 3, 6, part=Slice(n, 1, 2)) for n in range(2)]
    whole = batches(local, 3, 6)
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_a_full_shuffle_needs_the_whole_set(remote):
    with pytest.raises(ConfigError, match=r'any of 10 shards .* do not fit .* shuffle="shards"'):
        batches(remote[0], 0, 1, "full")


def test_a_shard_that_is_gone_is_one_sentence(remote):
    records, _ = remote
    storage = storage_for(records.staged.entries[0].name.rpartition("/")[0])
    for entry in records.staged.entries:
        storage.remove(entry.name.rpartition("/")[2])
    with pytest.raises(tf.errors.OpError, match="no such file"):
        batches(records, 0, 1)
    with pytest.raises(DataError, match=r"^s3://.*: no such file\.$"), data_errors():
        batches(records, 0, 1)
