"""Fetching ahead: in the order of need, within the limit, never at the cost of what is being read."""

import threading
import time

import numpy as np
import pytest

from tfdml.data.order import Order
from tfdml.data.remote import fetch_ahead
from tfdml.data.remote.fetch_ahead import AllAtOnce, FetchAhead, as_many_as_fit, upcoming
from tfdml.data.remote.shard_cache import CacheEntry, ShardCache
from tfdml.errors import DataError


class TwoAtATime:
    """Windows of two shards out of six, backwards in odd epochs; one step a window."""

    def windows(self, epoch):
        shards = np.arange(6)[:: -1 if epoch % 2 else 1]
        return [shards[i : i + 2] for i in (0, 2, 4)]

    def windows_of(self, epoch, step):
        return range(step, step + 1)


@pytest.fixture(autouse=True)
def _late_is_the_next_batch(monkeypatch):
    monkeypatch.setattr(fetch_ahead, "_LATE_CALLS", 1)


def move(ahead, epoch, step):
    """Read the first batches of a window."""
    for _ in range(2):
        with ahead.at(epoch, step):
            pass


def entries_of(fetched, num_bytes=100, gate=None):
    def fetch(number, path):
        if gate is not None:
            gate.wait(30)
        fetched.append(number)
        path.write_bytes(bytes(num_bytes))

    return [
        CacheEntry(f"s{i}", num_bytes, lambda path, i=i: fetch(i, path), f"s3://b/{i}")
        for i in range(6)
    ]


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keys_of(cache):
    return sorted(p.name for p in (cache.directory / "shards").iterdir() if p.suffix != ".partial")


def test_shards_come_in_the_order_of_the_epochs():
    stream = upcoming(TwoAtATime(), 0, 1)
    assert [next(stream) for _ in range(10)] == [2, 3, 4, 5, 5, 4, 3, 2, 1, 0]


def test_as_many_as_fit():
    entries = entries_of([])

    def fitting(epoch, window, limit):
        return [e.key for e in as_many_as_fit(TwoAtATime(), epoch, window, entries, limit)]

    assert fitting(0, 0, 399) == ["s0", "s1", "s2"]
    assert fitting(0, 2, 400) == ["s4", "s5", "s3", "s2"]
    assert fitting(0, 0, 10_000) == ["s0", "s1", "s2", "s3", "s4", "s5"]


def test_what_comes_next_is_fetched_while_a_window_is_read(tmp_path):
    cache, fetched = ShardCache(tmp_path, 400), []
    ahead = FetchAhead(cache, entries_of(fetched), TwoAtATime(), num_threads=1)
    with ahead.at(0, 0):
        wait_until(lambda: keys_of(cache) == ["s0", "s1", "s2", "s3"])
    assert fetched == [0, 1, 2, 3]
    move(ahead, 0, 1)
    wait_until(lambda: keys_of(cache) == ["s2", "s3", "s4", "s5"])
    assert fetched == [0, 1, 2, 3, 4, 5]
    with ahead.at(0, 2), ahead.at(1, 0):
        wait_until(lambda: ahead._alive == 0)
    assert fetched == [0, 1, 2, 3, 4, 5], "the first window of the next epoch is there already"
    ahead.close()


def test_the_earliest_batch_being_read_counts(tmp_path):
    cache, fetched = ShardCache(tmp_path, 400), []
    ahead = FetchAhead(cache, entries_of(fetched), TwoAtATime(), num_threads=1)
    with ahead.at(0, 0):
        wait_until(lambda: len(keys_of(cache)) == 4)
        with ahead.at(0, 1):
            wait_until(lambda: ahead._alive == 0)
            assert keys_of(cache) == ["s0", "s1", "s2", "s3"]
    ahead.close()


def test_the_window_that_was_just_left_stays_for_a_while(tmp_path):
    cache, fetched = ShardCache(tmp_path, 500), []
    ahead = FetchAhead(cache, entries_of(fetched), TwoAtATime(), num_threads=1)
    with ahead.at(0, 0):
        wait_until(lambda: len(keys_of(cache)) == 5)
    with ahead.at(0, 1):
        wait_until(lambda: ahead._alive == 0)
        assert fetched == [0, 1, 2, 3, 4] and len(keys_of(cache)) == 5
    with ahead.at(0, 1):
        wait_until(lambda: "s5" in keys_of(cache))
    assert "s0" not in keys_of(cache)
    ahead.close()


def test_two_readers_at_different_places_do_not_evict_each_other(tmp_path):
    cache, fetched = ShardCache(tmp_path, 500), []
    behind = FetchAhead(cache, entries_of(fetched), TwoAtATime(), num_threads=2)
    before = FetchAhead(cache, entries_of(fetched), TwoAtATime(), num_threads=2)
    with behind.at(0, 0):
        wait_until(lambda: len(keys_of(cache)) == 5)
        with before.at(0, 1):
            time.sleep(0.3)
            assert sorted(fetched) == [0, 1, 2, 3, 4]
            assert keys_of(cache) == ["s0", "s1", "s2", "s3", "s4"]
    move(behind, 0, 1)
    wait_until(lambda: "s5" in keys_of(cache))
    assert sorted(fetched) == [0, 1, 2, 3, 4, 5], "each once"
    behind.close()
    before.close()


def test_threads_end_when_nothing_is_missing_and_begin_again(tmp_path):
    fetched, gate = [], threading.Event()
    cache = ShardCache(tmp_path, 200)
    ahead = FetchAhead(cache, entries_of(fetched, gate=gate), TwoAtATime(), num_threads=3)
    with ahead.at(0, 0):
        assert ahead._alive == 2, "not more than are missing"
        gate.set()
        wait_until(lambda: ahead._alive == 0)
    with ahead.at(0, 2):
        wait_until(lambda: sorted(fetched) == [0, 1, 4, 5] and ahead._alive == 0)
    ahead.close()


def test_a_failure_is_left_to_whoever_needs_the_shard(tmp_path, caplog):
    def fail(path):
        raise DataError("s3://b/0: the connection failed.")

    entries = [CacheEntry(f"s{i}", 100, fail, f"s3://b/{i}") for i in range(6)]
    ahead = FetchAhead(ShardCache(tmp_path, 400), entries, TwoAtATime(), num_threads=1)
    with ahead.at(0, 0):
        wait_until(lambda: ahead._alive == 0)
    assert "fetching ahead: s3://b/0: the connection failed." in caplog.text
    ahead.close()


@pytest.mark.parametrize("shuffle", ["shards", "none"])
def test_the_windows_of_an_order_cover_what_its_steps_read(shuffle):
    sizes = (5, 9, 1, 7, 3, 8, 4)
    order = Order(sum(sizes), 4, 3, shuffle, shard_sizes=sizes, window_shards=3)
    first_ids = np.concatenate([[0], np.cumsum(sizes)])
    for epoch in range(2):
        windows = order.windows(epoch)
        assert sorted(np.concatenate(windows).tolist()) == list(range(7))
        for step in range(order.steps_per_epoch):
            shards = np.searchsorted(first_ids, order.record_ids(epoch, step), side="right") - 1
            planned = {int(s) for w in order.windows_of(epoch, step) for s in windows[w]}
            assert set(shards.tolist()) <= planned


def test_any_order_has_a_plan():
    everything = AllAtOnce(3)
    assert list(everything.windows(5)[0]) == [0, 1, 2] and everything.windows_of(5, 99) == range(1)
    assert fetch_ahead.as_many_as_fit(everything, 0, 0, entries_of([])[:3], 1000)[2].key == "s2"
