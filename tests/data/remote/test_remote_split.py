"""Opening a remote split: the same records as on a local disk, whatever side files the set has."""

import uuid

import pytest

from tests.data.remote.data_sets import write_set
from tests.data.remote.servers import web_server
from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest
from tfdml.data.format.tfds_layout import tfds_files
from tfdml.data.remote.remote_split import default_cache, open_split
from tfdml.data.remote.shard_cache import ShardCache
from tfdml.errors import ConfigError, DataError
from tfdml.storage import remote_storage, storage_for


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(remote_storage, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote_storage, "PATIENCE_SECONDS", 0.1)


@pytest.fixture
def storage():
    return storage_for(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def cache(tmp_path):
    return ShardCache(tmp_path / "cache", 10_000_000)


def read_all(records) -> list[bytes]:
    """Shard by shard, as staging does."""
    staged = records.staged
    found = []
    for number, entry in enumerate(staged.entries):
        with staged.cache.use([entry]):
            ids = range(records.first_ids[number], records.first_ids[number + 1])
            found += records.read_now(ids)
    return found


def shard_files(cache) -> list[str]:
    return sorted(path.name for path in (cache.directory / "shards").iterdir())


@pytest.mark.parametrize("compression", ["", "GZIP"])
@pytest.mark.parametrize("indexes", [True, False])
@pytest.mark.parametrize("manifest", [True, False])
def test_records_are_those_of_the_set(storage, cache, manifest, indexes, compression):
    written = write_set(storage, manifest=manifest, indexes=indexes, compression=compression)
    records = open_split(storage._url, "train", cache)
    assert records.num_records == len(written) == 42
    assert shard_files(cache) == [], "shards come when they are needed"
    assert read_all(records) == written
    assert read_all(records) == written
    assert cache.used_bytes() == sum(entry.num_bytes for entry in records.staged.entries)


@pytest.mark.parametrize("manifest", [True, False])
def test_a_set_behind_a_web_server(tmp_path, cache, manifest):
    written = write_set(storage_for(tmp_path / "set"), manifest=manifest)
    with web_server(tmp_path, tmp_path / "log") as url:
        assert read_all(open_split(f"{url}/set", "train", cache)) == written
    with pytest.raises(DataError, match="no connection"):
        open_split(f"{url}/set", "train", cache)


def test_a_second_process_finds_indexes_and_shards(storage, cache, monkeypatch):
    written = write_set(storage, manifest=True, indexes=False)
    read_all(open_split(storage._url, "train", cache))
    shards = [name for name in storage.names() if name != FILE_NAME]
    for name in shards:
        storage.remove(name)
    assert read_all(open_split(storage._url, "train", cache)) == written


def test_an_index_that_was_lost_is_made_from_the_cached_shard(storage, cache):
    written = write_set(storage, indexes=False)
    read_all(open_split(storage._url, "train", cache))
    for path in (cache.directory / "sets").rglob("*.idx"):
        path.unlink()
    assert read_all(open_split(storage._url, "train", cache)) == written


def test_a_replaced_set_is_another_set(storage, cache):
    write_set(storage, num_shards=2)
    read_all(open_split(storage._url, "train", cache))
    written = write_set(storage, num_shards=2, num_records=13)
    assert read_all(open_split(storage._url, "train", cache)) == written


def test_a_set_of_tfds_says_how_many_records_its_shards_have(storage, cache):
    written = write_set(storage, manifest=True, indexes=False)
    manifest = DatasetManifest.from_bytes(storage.read_bytes(FILE_NAME))
    for name, content in tfds_files(manifest).items():
        storage.write_bytes(name, content)
    storage.remove(FILE_NAME)
    records = open_split(storage._url, "train", cache)
    assert list(cache.directory.rglob("*.idx")) == [], "no shard was read for its index"
    assert read_all(records) == written


def test_damage_is_found(storage, cache):
    write_set(storage)
    name = next(name for name in storage.names() if name.startswith("set-train"))
    data = bytearray(storage.read_bytes(name))
    data[100] ^= 1
    storage.write_bytes(name, bytes(data))
    with pytest.raises(DataError, match=rf"{name}: its checksum is \w+, the manifest says"):
        read_all(open_split(storage._url, "train", cache))
    assert shard_files(cache) == []
    storage.write_bytes(name, bytes(data)[:-10])
    with pytest.raises(DataError, match=rf"{name}: "):
        read_all(open_split(storage._url, "train", cache))
    assert shard_files(cache) == []


def test_a_damaged_gzip_shard_is_told(storage, cache):
    write_set(storage, manifest=False, compression="GZIP")
    name = next(name for name in storage.names() if name.startswith("set-train"))
    records = open_split(storage._url, "train", cache)
    storage.write_bytes(name, storage.read_bytes(name)[:-20] + bytes(20))
    with pytest.raises(DataError, match=rf"{name}: cannot be unpacked"):
        read_all(records)
    assert shard_files(cache) == []


def test_an_index_that_does_not_fit(storage, cache):
    write_set(storage, manifest=False)
    names = storage.names()
    storage.write_bytes(names[0], storage.read_bytes(names[1]))
    with pytest.raises(DataError, match="idx: does not fit its shard"):
        open_split(storage._url, "train", cache)


def test_a_number_of_records_that_is_not_so(storage, cache):
    write_set(storage, indexes=False)
    text = storage.read_bytes(FILE_NAME).decode()
    storage.write_bytes(FILE_NAME, text.replace('"records": 11', '"records": 12').encode())
    with pytest.raises(DataError, match="11 records, and the data set says 12"):
        read_all(open_split(storage._url, "train", cache))


def test_missing_splits_shards_and_sets(storage, cache):
    with pytest.raises(DataError, match="no such directory, or an empty one"):
        open_split(storage._url, "train", cache)
    write_set(storage, manifest=False)
    with pytest.raises(DataError, match="no split 'test'; there are train"):
        open_split(storage._url, "test", cache)
    storage.remove("set-train.tfrecord-00002-of-00004")
    with pytest.raises(DataError, match="lacks 1 of 4 shards"):
        open_split(storage._url, "train", cache)
    write_set(storage)
    with pytest.raises(DataError, match="has no split 'test'; it has train"):
        open_split(storage._url, "test", cache)
    storage.remove("set-train.tfrecord-00002-of-00004")
    with pytest.raises(DataError, match="00002-of-00004: no such file"):
        read_all(open_split(storage._url, "train", cache))


def test_the_default_cache_is_configured_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().directory == tmp_path / "tfdml" / "staged"
    monkeypatch.setenv("TFDML_SHARD_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("TFDML_SHARD_CACHE_BYTES", "12345")
    cache = default_cache()
    assert cache.directory == tmp_path / "here" and cache.limit_bytes == 12345
    monkeypatch.setenv("TFDML_SHARD_CACHE_BYTES", "12 GB")
    with pytest.raises(ConfigError, match="TFDML_SHARD_CACHE_BYTES must be a whole number"):
        default_cache()
