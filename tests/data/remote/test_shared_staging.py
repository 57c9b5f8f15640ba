"""Processes of one host that read a set in S3 through one cache: each shard is fetched once, none is torn."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import uuid

import numpy as np
import pytest

from tests.data.remote.data_sets import write_set
from tests.data.remote.servers import Link
from tests.processes import wait_for_file
from tfdml.data.order import Order, Slice
from tfdml.data.remote.remote_split import open_split
from tfdml.data.remote.shard_cache import ShardCache
from tfdml.errors import DataError
from tfdml.storage import remote_connection, remote_storage, storage_for

_NUM_SHARDS = 12


@pytest.fixture
def url(s3):
    return s3.url(uuid.uuid4().hex)


def open_in_order(url, cache, window_shards=2, batch=25):
    records = open_split(url, "train", cache)
    sizes = records.shard_sizes
    order = Order(sum(sizes), batch, 3, "shards", shard_sizes=sizes, window_shards=window_shards)
    return dataclasses.replace(records, staged=records.staged.in_order(order)), order


def read_step(records, order, epoch, step, part) -> list[bytes]:
    """What `Source` does in a graph, without TensorFlow."""
    start, size = part.rows(order.rows(step))
    ids = order.record_ids(epoch, step)[start : start + size]
    shards = np.unique(records.locate(ids)[0])
    with (
        records.staged._ahead.at(epoch, step),
        records.staged.cache.use([records.staged.entries[i] for i in shards]),
    ):
        return records.read_now(ids)


def _read_epochs(url, cache_directory, limit_bytes, number, together, results):
    cache = ShardCache(cache_directory, limit_bytes)
    records, order = open_in_order(url, cache)
    found, largest = [], 0
    for epoch in range(2):
        for step in range(order.steps_per_epoch):
            found.append(read_step(records, order, epoch, step, Slice(number, 1, 2)))
            largest = max(largest, cache.used_bytes())
            together.wait(60)  # as an all-reduce does
    results.put((number, found, largest))


@contextlib.contextmanager
def children(function, arguments):
    """Real processes, started afresh."""
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=function, args=each, daemon=True) for each in arguments]
    for child in started:
        child.start()
    try:
        yield started
    finally:
        for child in started:
            child.kill()
            child.join(30)


@pytest.mark.slow
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_two_processes_fetch_each_shard_once(s3, url, tmp_path, share):
    """Once in all where the set fits into the cache; once an epoch where half of it does."""
    everything = write_set(storage_for(url), _NUM_SHARDS, 20)
    sizes = [
        storage_for(url).size(name) for name in storage_for(url).names() if "index" not in name
    ]
    limit_bytes = int(sum(sizes) * share) + 1
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(2), context.Queue()
    arguments = [(url, tmp_path, limit_bytes, n, together, results) for n in range(2)]
    with children(_read_epochs, arguments):
        found = {
            number: (read, largest)
            for number, read, largest in (results.get(timeout=60), results.get(timeout=60))
        }
    fetched = s3.requests("GET", url.removeprefix(s3.url("")) + "/set-train")
    assert len(fetched) == _NUM_SHARDS
    if share == 1:
        assert set(fetched.values()) == {1}
    else:
        assert max(found[0][1], found[1][1]) <= limit_bytes
        assert max(fetched.values()) <= 2, "at most once an epoch"
    order = open_in_order(url, ShardCache(tmp_path, limit_bytes))[1]
    steps = order.steps_per_epoch
    for i, (first, second) in enumerate(zip(found[0][0], found[1][0], strict=True)):
        ids = order.record_ids(i // steps, i % steps)
        assert first + second == [everything[number] for number in ids]
    for epoch in range(2):
        parts = [
            found[n][0][s] for n in range(2) for s in range(epoch * steps, (epoch + 1) * steps)
        ]
        assert sorted(record for part in parts for record in part) == sorted(everything)


def _fetch_all(url, cache_directory, marker):
    remote_storage.PIECE_BYTES = 1000
    records, order = open_in_order(url, ShardCache(cache_directory, 10**9))
    marker.touch()
    for step in range(order.steps_per_epoch):
        read_step(records, order, 0, step, Slice())


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_a_fetch(s3, url, tmp_path, monkeypatch):
    everything = write_set(storage_for(url), _NUM_SHARDS, 300)
    link = Link(s3.endpoint)
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", link.endpoint)
        for trial in range(5):
            link.pause_after = None
            with children(_fetch_all, [(url, tmp_path / "cache", tmp_path / f"marker{trial}")]) as (
                child,
            ):
                wait_for_file(tmp_path / f"marker{trial}")
                link.pause_after = link.forwarded + 7_000 * (trial + 1)
                link.wait_until_paused()
                os.kill(child.pid, signal.SIGKILL)
                child.join(30)
            link.resume()
    finally:
        link.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    cache = ShardCache(tmp_path / "cache", 10**9)
    left = [path.name for path in (cache.directory / "shards").iterdir()]
    assert any(name.endswith(".partial") for name in left), "it was killed while it fetched"
    records, order = open_in_order(url, cache)
    found = [
        r for s in range(order.steps_per_epoch) for r in read_step(records, order, 0, s, Slice())
    ]
    assert sorted(found) == sorted(everything)
    assert len(list((cache.directory / "shards").iterdir())) == _NUM_SHARDS


@pytest.mark.slow
def test_a_link_that_goes_down_while_shards_are_fetched(s3, url, tmp_path, monkeypatch):
    """One clear error; what was fetched stays, and a later run fetches the rest."""
    everything = write_set(storage_for(url), _NUM_SHARDS, 100)
    monkeypatch.setattr(remote_storage, "PIECE_BYTES", 1000)
    link = Link(s3.endpoint)
    cache = ShardCache(tmp_path, 10**9)
    try:
        remote_connection.connect.cache_clear()
        monkeypatch.setenv("AWS_ENDPOINT_URL", link.endpoint)
        monkeypatch.setattr(remote_storage, "PATIENCE_SECONDS", 1.0)
        records, order = open_in_order(url, cache)
        link.cut_after = link.forwarded + 100_000
        with pytest.raises(DataError, match=rf"{url}/set-train.*(no connection|connection failed)"):
            for step in range(order.steps_per_epoch):
                read_step(records, order, 0, step, Slice())
        there = [p.name for p in (tmp_path / "shards").iterdir() if p.suffix != ".partial"]
        assert there and len(there) < _NUM_SHARDS
        link.up()
        found = [
            r
            for s in range(order.steps_per_epoch)
            for r in read_step(records, order, 0, s, Slice())
        ]
        assert sorted(found) == sorted(everything)
    finally:
        link.close()
        remote_connection.connect.cache_clear()
    again = s3.requests("GET", url.removeprefix(s3.url("")) + "/set-train")
    pieces = {
        entry.name.rpartition("/")[2]: -(-entry.num_bytes // 1000)
        for entry in records.staged.entries
    }
    for name in there:
        file = name.partition("-")[2].partition("-")[2]
        assert again[f"{url.rpartition('/')[2]}/{file}"] == pieces[file], "not fetched again"
