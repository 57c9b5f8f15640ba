"""The shared cache of shards: fetched once, whole or absent, within its limit, never removed while it is used."""

import multiprocessing
import os
import random
import signal
import threading
import time

import pytest

from tests.processes import wait_for_file
from tfdml.data.remote import shard_cache
from tfdml.data.remote.shard_cache import CacheEntry, ShardCache
from tfdml.errors import ConfigError, DataError


def entry_of(letter: str, fetched: list[str] | None = None, num_bytes: int = 100) -> CacheEntry:
    def fetch(path):
        if fetched is not None:
            fetched.append(letter)
        path.write_bytes(letter.encode() * num_bytes)

    return CacheEntry(f"set-{letter}", num_bytes, fetch, f"s3://b/{letter}")


def names(cache: ShardCache) -> list[str]:
    return sorted(path.name for path in (cache.directory / "shards").iterdir())


def test_a_shard_is_fetched_once_and_then_there(tmp_path):
    cache, fetched = ShardCache(tmp_path, 1000), []
    a = entry_of("a", fetched)
    assert cache.pin([a]) is None
    for _ in range(3):
        with cache.use([a]):
            assert cache.path(a).read_bytes() == b"a" * 100
    assert fetched == ["a"] and cache.used_bytes() == 100


def test_the_least_recently_used_goes_first(tmp_path):
    cache = ShardCache(tmp_path, 300)
    for letter in "abc":
        cache.use([entry_of(letter)]).close()
        time.sleep(0.01)  # the file system's clock
    cache.use([entry_of("a")]).close()
    cache.use([entry_of("d")]).close()
    assert names(cache) == ["set-a", "set-c", "set-d"]


def test_a_pinned_shard_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_cache, "PATIENCE_SECONDS", 0.2)
    cache = ShardCache(tmp_path, 300)
    pins = cache.use([entry_of("a"), entry_of("b")])
    cache.use([entry_of("c")]).close()
    cache.use([entry_of("d")]).close()
    assert names(cache) == ["set-a", "set-b", "set-d"]
    with pytest.raises(DataError, match=r"no room for s3://b/e \(200 bytes\).*of 300 bytes.*Raise"):
        cache.use([entry_of("e", num_bytes=200)])
    assert not cache.bring_ahead(entry_of("e", num_bytes=200))
    pins.close()
    cache.use([entry_of("e", num_bytes=200)]).close()
    assert cache.used_bytes() <= 300


def test_what_others_will_need_goes_last(tmp_path):
    cache = ShardCache(tmp_path, 300)
    with cache.user() as user:
        for letter in "abc":
            cache.use([entry_of(letter)]).close()
            time.sleep(0.01)
        user.will_need(["set-a", "set-b", "set-c"])
        assert not cache.bring_ahead(entry_of("d"))
        user.will_need(["set-a", "set-b"])
        assert cache.bring_ahead(entry_of("d"))
        assert names(cache) == ["set-a", "set-b", "set-d"]
        cache.use([entry_of("e")]).close()  # needed now: the one that nobody announced
        assert names(cache) == ["set-a", "set-b", "set-e"]
        with cache.use([entry_of("e")]):
            cache.use([entry_of("f")]).close()  # needed now, and nothing else is left
        assert names(cache) == ["set-b", "set-e", "set-f"]


def test_a_failed_fetch_leaves_nothing(tmp_path):
    def fail(path):
        path.write_bytes(b"some")
        raise DataError("s3://b/a: the connection failed.")

    def short(path):
        path.write_bytes(b"some")

    cache = ShardCache(tmp_path, 1000)
    with pytest.raises(DataError, match="connection failed"):
        cache.use([CacheEntry("set-a", 100, fail, "s3://b/a")])
    with pytest.raises(DataError, match="s3://b/a: 4 bytes, not 100"):
        cache.use([CacheEntry("set-a", 100, short, "s3://b/a")])
    assert names(cache) == [] and cache.used_bytes() == 0
    cache.use([entry_of("a")]).close()


def test_a_full_disk_is_one_sentence(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="the disk of the shard cache is full"):
        ShardCache(tmp_path, 1000).use([CacheEntry("k", 100, full, "s3://b/a")])


def test_threads_that_need_the_same_and_other_shards(tmp_path):
    """Each thread needs two shards at once, and there is room for three."""
    cache, fetched = ShardCache(tmp_path, 300), []
    failures = []

    def work(letters):
        try:
            for _ in range(20):
                with cache.use([entry_of(letter, fetched) for letter in letters]):
                    for letter in letters:
                        assert cache.path(entry_of(letter)).read_bytes() == letter.encode() * 100
                    assert cache.used_bytes() <= 300
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(letters,)) for letters in ("ab", "cd", "ac", "bd")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)


def test_two_that_hold_some_and_wait_for_more(tmp_path, monkeypatch):
    """There is room for two, each needs two, and each would begin before the other has both."""
    monkeypatch.setattr(shard_cache, "PATIENCE_SECONDS", 3.0)
    cache, failures = ShardCache(tmp_path, 200), []
    begun = {letter: threading.Event() for letter in "ac"}

    def work(letters):
        def fetch(path):
            begun[letters[0]].set()
            begun["c" if letters[0] == "a" else "a"].wait(0.3)
            path.write_bytes(bytes(100))

        first = CacheEntry(f"set-{letters[0]}", 100, fetch, letters[0])
        try:
            cache.use([first, entry_of(letters[1])]).close()
        except DataError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(letters,)) for letters in ("ab", "cd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def _fetch_slowly(directory, marker, outcome):
    """Fetch "a", of which half is there for a while."""

    def fetch(path):
        path.write_bytes(b"a" * 50)
        marker.touch()
        time.sleep(60 if outcome == "hang" else 0.5)
        path.write_bytes(b"a" * 100)

    ShardCache(directory, 200).use([CacheEntry("set-a", 100, fetch, "s3://b/a")]).close()


def _hold(directory, marker):
    with ShardCache(directory, 200).use([entry_of("a")]):
        marker.touch()
        time.sleep(60)


def _child(function, *arguments):
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    return child


def test_another_process_is_waited_for(tmp_path):
    fetched = []
    child = _child(_fetch_slowly, tmp_path / "cache", tmp_path / "marker", "done")
    wait_for_file(tmp_path / "marker")
    cache = ShardCache(tmp_path / "cache", 200)
    a = entry_of("a", fetched)
    assert not cache.bring_ahead(a), "another process fetches it"
    assert cache.used_bytes() == 100, "what is on its way counts in full"
    with cache.use([a]):
        assert cache.path(a).read_bytes() == b"a" * 100
    assert fetched == []
    child.join(30)
    assert child.exitcode == 0


def test_a_process_killed_while_it_fetches_leaves_no_torn_shard(tmp_path):
    child = _child(_fetch_slowly, tmp_path / "cache", tmp_path / "marker", "hang")
    wait_for_file(tmp_path / "marker")
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    cache, fetched = ShardCache(tmp_path / "cache", 200), []
    assert names(cache) == ["set-a.100.partial"]
    assert cache.pin([entry_of("a")]) is None
    with cache.use([entry_of("a", fetched)]):
        assert cache.path(entry_of("a")).read_bytes() == b"a" * 100
    assert fetched == ["a"] and names(cache) == ["set-a"]


def test_what_a_killed_process_began_makes_room_for_others(tmp_path):
    child = _child(_fetch_slowly, tmp_path / "cache", tmp_path / "marker", "hang")
    wait_for_file(tmp_path / "marker")
    cache = ShardCache(tmp_path / "cache", 150)
    assert not cache.bring_ahead(entry_of("b"))
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    assert cache.bring_ahead(entry_of("b"))
    assert names(cache) == ["set-b"]


def test_pins_and_announcements_end_with_their_process(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_cache, "PATIENCE_SECONDS", 0.2)
    child = _child(_hold, tmp_path / "cache", tmp_path / "marker")
    wait_for_file(tmp_path / "marker")
    cache = ShardCache(tmp_path / "cache", 100)
    with pytest.raises(DataError, match="no room"):
        cache.use([entry_of("b")])
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    cache.use([entry_of("b")]).close()
    assert names(cache) == ["set-b"]
    (tmp_path / "cache" / "users" / "1-dead").write_text("set-b")
    assert cache.bring_ahead(entry_of("c"))
    assert list((tmp_path / "cache" / "users").iterdir()) == []


def test_bad_limits_and_places(tmp_path):
    with pytest.raises(
        ConfigError, match="`limit_bytes` of the shard cache must be positive, got 0"
    ):
        ShardCache(tmp_path, 0)
    with pytest.raises(DataError, match="s3://b/a: 100 bytes do not fit into a shard cache of 99"):
        ShardCache(tmp_path, 99).use([entry_of("a")])
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: the shard cache cannot be made here"):
        ShardCache(tmp_path / "file", 10)


def _use_for_ever(directory, seed):
    """Shards of random sizes, three at a time, fetched in pieces."""
    rng = random.Random(seed)
    cache = ShardCache(directory, _LIMIT)
    entries = [_pieces_of(number) for number in range(12)]
    with cache.user() as user:
        while True:
            chosen = rng.sample(entries, 3)
            user.will_need(entry.key for entry in rng.sample(entries, 2))
            cache.bring_ahead(rng.choice(entries))
            with cache.use(chosen):
                for entry in chosen:
                    assert cache.path(entry).read_bytes() == _content(entry)


_LIMIT = 6000


def _content(entry: CacheEntry) -> bytes:
    return entry.key.encode()[-1:] * entry.num_bytes


def _pieces_of(number: int) -> CacheEntry:
    def fetch(path):
        with path.open("wb") as file:
            for start in range(0, entry.num_bytes, 100):
                file.write(_content(entry)[start : start + 100])
                file.flush()
                time.sleep(0.0002)

    entry = CacheEntry(f"set-{chr(97 + number)}", 800 + 100 * number, fetch, f"s3://b/{number}")
    return entry


@pytest.mark.slow
def test_processes_that_are_killed_at_any_moment(tmp_path):
    rng = random.Random(0)
    cache = ShardCache(tmp_path, _LIMIT)
    entries = {entry.key: entry for entry in map(_pieces_of, range(12))}
    children = [_child(_use_for_ever, tmp_path, seed) for seed in range(4)]
    try:
        for kill in range(40):
            time.sleep(rng.random() * 0.2)
            assert cache.used_bytes() <= _LIMIT
            for name in names(cache):
                if not name.endswith(".partial") and (pins := cache.pin([entries[name]])):
                    with pins:
                        assert cache.path(entries[name]).read_bytes() == _content(entries[name])
            victim = rng.randrange(4)
            assert children[victim].is_alive(), "none fails by itself"
            os.kill(children[victim].pid, signal.SIGKILL)
            children[victim].join(30)
            children[victim] = _child(_use_for_ever, tmp_path, 10 + kill)
    finally:
        for child in children:
            child.kill()
            child.join(30)
    for entry in entries.values():
        with cache.use([entry]):
            assert cache.path(entry).read_bytes() == _content(entry)
    assert not any(name.endswith(".partial") for name in names(cache))
