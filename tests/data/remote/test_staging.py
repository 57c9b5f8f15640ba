"""Staged reading: limits that are checked, and batches that lie in more shards than the cache holds."""

import numpy as np
import pytest

from tfdml.data.order import Order
from tfdml.data.remote import shard_cache
from tfdml.data.remote.shard_cache import CacheEntry, ShardCache
from tfdml.data.remote.staging import StagedShards, put_together
from tfdml.errors import ConfigError, DataError


def staged_of(tmp_path, limit_bytes, sizes=(100, 200, 300, 400)):
    def fetch(number, path):
        path.write_bytes(bytes([number]) * sizes[number])

    entries = [
        CacheEntry(f"s{i}", size, lambda path, i=i: fetch(i, path), f"s3://b/{i}")
        for i, size in enumerate(sizes)
    ]
    return StagedShards(ShardCache(tmp_path, limit_bytes), entries, num_threads=1)


def order_of(shuffle, window_shards=2):
    return Order(40, 8, 0, shuffle, shard_sizes=(10, 10, 10, 10), window_shards=window_shards)


def test_a_window_must_fit(tmp_path):
    with pytest.raises(ConfigError, match=r"a window of 2 shards .*700 bytes.*of 699 .*at most"):
        staged_of(tmp_path, 699).in_order(order_of("shards"))
    with pytest.raises(ConfigError, match=r"`window_shards` of 1 at most\.$"):
        staged_of(tmp_path, 699).in_order(order_of("shards"))
    with pytest.raises(
        ConfigError, match=r"a window of 1 .*400 bytes.*of 399 bytes\. Raise its limit\.$"
    ):
        staged_of(tmp_path, 399).in_order(order_of("none"))
    staged_of(tmp_path, 700).in_order(order_of("shards"))
    staged_of(tmp_path, 400).in_order(order_of("none"))


@pytest.mark.parametrize("order", [order_of("full"), Order(40, 8), object()])
def test_a_full_shuffle_needs_all_in_the_cache(tmp_path, order):
    with pytest.raises(
        ConfigError, match=r'any of 4 shards.*1,000 bytes.*of 999 .*shuffle="shards"'
    ):
        staged_of(tmp_path, 999).in_order(order)
    staged_of(tmp_path, 1000).in_order(order)


@pytest.mark.parametrize("limit_bytes", [400, 500, 700, 1000])
def test_a_batch_in_more_shards_than_the_cache_holds(tmp_path, limit_bytes):
    tf = pytest.importorskip("tensorflow")
    staged = staged_of(tmp_path, limit_bytes)
    shards = np.array([3, 0, 1, 2, 3, 0, 2, 1])

    def read_local(ids):
        assert staged.cache.used_bytes() <= limit_bytes
        found = []
        for i in ids.numpy():
            path = staged.cache.path(staged.entries[shards[i]])
            found.append(f"{i}:{path.read_bytes()[0]}".encode())
        return tf.constant(found)

    for step in range(3):
        ids = tf.range(8, dtype=tf.int64)
        records = staged.read_now(ids, shards, 0, step, read_local)
        assert [r.decode() for r in records.numpy()] == [f"{i}:{s}" for i, s in enumerate(shards)]


def test_a_set_that_is_read_all_over_stays(tmp_path):
    tf = pytest.importorskip("tensorflow")
    staged = staged_of(tmp_path, 1000).in_order(order_of("full"))
    staged.read_now(tf.range(2), np.array([1, 3]), 0, 0, lambda ids: ids)
    staged.read_now(tf.range(2), np.array([1, 2]), 0, 1, lambda ids: ids)
    other = CacheEntry("other", 900, lambda path: path.write_bytes(bytes(900)), "s3://b/other")
    assert not staged.cache.bring_ahead(other)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataError, match="no room for s3"):
        patch.setattr(shard_cache, "PATIENCE_SECONDS", 0.1)
        staged.cache.use([other])
    assert all(staged.cache.has(staged.entries[i]) for i in (1, 2, 3))


def test_remote_and_local_shards_put_together(tmp_path):
    tf = pytest.importorskip("tensorflow")
    remote = staged_of(tmp_path / "a", 400)
    both = put_together(put_together(None, 1, remote, 4), 5, remote, 4)
    both = put_together(both, 9, None, 2)
    assert put_together(None, 1, None, 2) is None
    assert [entry and entry.key for entry in both.entries] == [
        None, "s0", "s1", "s2", "s3", "s0", "s1", "s2", "s3", None, None,
    ]  # fmt: skip
    found = both.read_now(tf.range(4), np.array([0, 4, 6, 10]), 0, 0, lambda ids: ids)
    assert found.numpy().tolist() == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match=r"share one shard cache, got .*/a of 400 .*/b of 400"):
        remote.followed_by(staged_of(tmp_path / "b", 400), 4)
    order = Order(70, 8, 0, "shards", shard_sizes=(10,) * 7, window_shards=2)
    with pytest.raises(ConfigError, match="a window of 2 shards may have 700 bytes"):
        remote.preceded_by(3).in_order(order)
