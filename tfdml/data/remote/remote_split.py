"""Opening a split of a remote data set: what is small is fetched at once, shards when they are needed.

The manifest, if there is one, says which shards there are and their checksums; the indexes say where their
records are. They are kept in the cache's directory beside the shards, outside of its limit: some 8 bytes a
record. A shard without an index gets one here: when it is staged where the number of its records is known,
and otherwise now, for which it has to be read.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import google_crc32c

from tfdml.data.format import dataset_manifest
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.format.index import Index, index_name
from tfdml.data.format.record_file import detect_compression
from tfdml.data.format.shards import check_complete, shards_by_split
from tfdml.data.records import RecordSet, Shard
from tfdml.data.remote.shard_cache import CacheEntry, ShardCache
from tfdml.data.remote.staging import StagedShards
from tfdml.errors import ConfigError, DataError
from tfdml.native.store import cache_directory
from tfdml.shared_files import one_process_at_a_time
from tfdml.storage import Storage, storage_for

_REQUESTS_AT_ONCE = 16
_CHUNK_BYTES = 1 << 20
_DEFAULT_LIMIT_BYTES = 64 * 2**30

_log = logging.getLogger("tfdml")


@dataclass(frozen=True)
class _RemoteShard:
    """A file of the set; `num_records` and `crc32c` where a side file says them."""

    file: str
    num_bytes: int
    version: str
    num_records: int | None = None
    crc32c: int | None = None


def default_cache() -> ShardCache:
    """In TFDML_SHARD_CACHE, of TFDML_SHARD_CACHE_BYTES; else in the user's cache directory, 64 GiB or half the disk.

    Raises:
        ConfigError: TFDML_SHARD_CACHE_BYTES is no number.
    """
    place = os.environ.get("TFDML_SHARD_CACHE") or cache_directory() / "staged"
    text = os.environ.get("TFDML_SHARD_CACHE_BYTES", "")
    if text and not text.isdecimal():
        raise ConfigError(f"TFDML_SHARD_CACHE_BYTES must be a whole number of bytes, got {text!r}.")
    cache = ShardCache(place, int(text) if text else _DEFAULT_LIMIT_BYTES)
    if text:
        return cache
    half = shutil.disk_usage(cache.directory).total // 2
    return ShardCache(place, min(_DEFAULT_LIMIT_BYTES, half))


def open_split(url: str, split: str, cache: ShardCache | None = None) -> RecordSet:
    """The records of one split of the data set at `url`, which is any that `storage_for` takes.

    Raises:
        DataError: it cannot be reached, there is no such split, or a file is missing or damaged.
    """
    storage = storage_for(url)
    cache = cache or default_cache()
    place = hashlib.sha256(storage.url.encode()).hexdigest()[:12]
    directory = cache.directory / "sets" / place
    shards = _shards_of(url, storage, split)
    with one_process_at_a_time(directory / "lock"), ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        opened = list(pool.map(partial(_open, storage, cache, directory, place), shards))
    return RecordSet(
        tuple(shard for shard, _ in opened),
        staged=StagedShards(cache, tuple(entry for _, entry in opened)),
    )


def _shards_of(url: str, storage: Storage, split: str) -> list[_RemoteShard]:
    """In their order: out of the manifest, which needs no listing, or else of what lies in the directory."""
    manifest_bytes = storage.read_if_there(dataset_manifest.FILE_NAME)
    if manifest_bytes is not None:
        where = storage.location(dataset_manifest.FILE_NAME)
        manifest = DatasetManifest.from_bytes(manifest_bytes, where)
        manifest.num_records(split)
        return [
            _RemoteShard(s.file, s.bytes, f"{s.crc32c:08x}-{s.bytes}", s.records, s.crc32c)
            for s in manifest.splits[split]
        ]
    there = DatasetDirectory.open(url)
    files = [file for _, file in there.shards(split)]
    check_complete(storage.url, split, shards_by_split(files)[split])
    counts: Sequence[int | None] = there.tfds.shard_records.get(split, ()) if there.tfds else ()
    if len(counts) != len(files):
        counts = [None] * len(files)
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        sizes, versions = pool.map(storage.size, files), pool.map(storage.version, files)
        return [_RemoteShard(*known) for known in zip(files, sizes, versions, counts, strict=True)]


def _open(
    storage: Storage, cache: ShardCache, directory: Path, place: str, shard: _RemoteShard
) -> tuple[Shard, CacheEntry]:
    version = hashlib.sha256(shard.version.encode()).hexdigest()[:12]
    key = f"{place}-{version}-{shard.file}"
    index_path = directory / f"{version}-{shard.file}.idx"
    index = Index.read(index_path) if index_path.exists() else _index_of(storage, shard)
    if index is not None:
        if not index_path.exists():
            index.write(index_path)
        num_records = len(index)
        num_bytes = int(index.offsets[-1])
    else:
        assert shard.num_records is not None
        num_records, num_bytes = shard.num_records, shard.num_bytes
    is_packed = index is not None and index.is_gzip
    entry = CacheEntry(
        key,
        num_bytes,
        partial(_fetch, storage, shard, is_packed, index_path),
        storage.location(shard.file),
        fetch_bytes=shard.num_bytes if is_packed else 0,
    )
    if index is None and cache.has(entry):
        _make_index(cache.path(entry), index_path, shard, entry.name)
    return Shard(str(cache.path(entry)), str(index_path), num_records, version), entry


def _index_of(storage: Storage, shard: _RemoteShard) -> Index | None:
    """The index of a shard; None where it can be made when the shard is staged."""
    name = index_name(shard.file)
    data = storage.read_if_there(name)
    if data is not None:
        index = Index.from_bytes(data, storage.location(name))
        if index.shard_bytes != shard.num_bytes:
            raise DataError(
                f"{storage.location(name)}: does not fit its shard, which has {shard.num_bytes} bytes and should "
                f"have {index.shard_bytes}. See tfdml verify."
            )
        return index
    is_packed = detect_compression(storage.read_bytes(shard.file, 0, 12)) != ""
    if shard.num_records is not None and not is_packed:
        return None
    _tell_of_missing_index(storage.url)
    with tempfile.TemporaryDirectory(prefix="tfdml-") as directory:
        path = Path(directory) / shard.file
        storage.fetch_into(shard.file, path)
        return Index.scanned(path)


def _fetch(
    storage: Storage, shard: _RemoteShard, is_packed: bool, index_path: Path, path: Path
) -> None:
    """Write the shard, unpacked, to `path`, and its index where it is missing."""
    where = storage.location(shard.file)
    if not is_packed:
        storage.fetch_into(shard.file, path)
        _check(path, shard, where)
        if not index_path.exists():
            _make_index(path, index_path, shard, where)
        return
    with tempfile.TemporaryFile(dir=path.parent.parent) as file:
        packed = Path(f"/proc/self/fd/{file.fileno()}")  # no name that a killed process could leave
        storage.fetch_into(shard.file, packed)
        _check(packed, shard, where)
        try:
            with gzip.open(packed, "rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{where}: cannot be unpacked ({error}); it is damaged.") from None


@functools.cache
def _tell_of_missing_index(url: str) -> None:
    _log.warning(
        "%s: shards without an index, each of which is read once now, to make one in the cache.",
        url,
    )


def _check(path: Path, shard: _RemoteShard, where: str) -> None:
    if shard.crc32c is None:
        return
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = google_crc32c.extend(crc, chunk)
    if crc != shard.crc32c:
        raise DataError(
            f"{where}: its checksum is {crc:08x}, the manifest says {shard.crc32c:08x}. It was damaged or replaced; "
            "see tfdml verify."
        )


def _make_index(path: Path, index_path: Path, shard: _RemoteShard, where: str) -> None:
    index = Index.scanned(path)
    if len(index) != shard.num_records:
        raise DataError(
            f"{where}: {len(index)} records, and the data set says {shard.num_records}. See tfdml verify."
        )
    index.write(index_path)
