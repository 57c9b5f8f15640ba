"""What a shard lacks for reading by offset, made once: its index, and of a GZIP shard an unpacked copy.

Indexes go beside the shards; where that directory cannot be written, into the cache directory. The name there says
which file it is of, with size and time, so a shard that is replaced gets another one.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
import struct
import zlib
from pathlib import Path

from tfdml.data.format import index as index_file
from tfdml.data.format.index import Index
from tfdml.errors import DataError
from tfdml.native.store import cache_directory
from tfdml.shared_files import appears_when_whole, one_process_at_a_time

_HEADER = struct.Struct("<8sIIQQ32x")
_CHUNK_BYTES = 1 << 20

_log = logging.getLogger("tfdml")


def index_of(shard: Path) -> tuple[Path, int]:
    """The index file of an uncompressed local shard, made if need be, and the number of records.

    Raises:
        DataError: the shard is damaged, or its index does not fit.
    """
    beside, cached = index_file.index_path(shard), _cached(shard, ".idx")
    for path in (beside, cached):
        if path.exists():
            return path, _records_of(path, shard)
    # Processes that come at the same time do the same work; each writes a whole file.
    index = Index.scanned(shard)
    try:
        index.write(beside)
        return beside, len(index)
    except OSError:
        pass
    try:
        index.write(cached)
    except OSError as error:
        raise DataError(
            f"{cached}: the index of {shard} cannot be kept here ({error.strerror or error}) nor beside the shard. "
            "XDG_CACHE_HOME says where the cache is."
        ) from None
    return cached, len(index)


def unpacked_copy(shard: Path) -> Path:
    """A copy of a GZIP shard that can be read at any place, in the cache directory.

    Raises:
        DataError: it cannot be unpacked, or there is no space for it.
    """
    path = _cached(shard, ".tfrecord")
    if path.exists():
        return path
    with one_process_at_a_time(_cached(shard, ".lock")):
        if path.exists():
            return path
        _log.warning(
            "%s is compressed and cannot be read by offset: it is read once from its start, and unpacked into %s. "
            "Convert without compression to save this.",
            shard,
            path.parent,
        )
        try:
            with (
                gzip.open(shard, "rb") as source,
                appears_when_whole(path) as temporary,
                open(temporary, "wb") as target,
            ):
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{shard}: cannot be unpacked ({error}); it is damaged.") from None
        except OSError as error:
            raise DataError(
                f"{shard}: cannot be unpacked into {path.parent} ({error.strerror or error}). XDG_CACHE_HOME says "
                "where the cache is; or convert without compression."
            ) from None
    return path


def _records_of(index: Path, shard: Path) -> int:
    """How many records an index has, by its first bytes: the rest is not read before it is needed."""
    with open(index, "rb") as file:
        start = file.read(_HEADER.size)
    size, found = shard.stat().st_size, index.stat().st_size
    if len(start) == _HEADER.size:
        magic, version, flags, records, shard_bytes = _HEADER.unpack(start)
        labels = 4 * records * bool(flags & index_file.HAS_LABELS)
        whole = magic == b"TFDMLIDX" and found == _HEADER.size + 8 * (records + 1) + labels + 4
        if whole and version == 1 and shard_bytes == size:
            return records
    Index.of_shard(shard) if index == index_file.index_path(shard) else Index.read(index)
    raise DataError(
        f"{index}: does not fit its shard {shard}. Delete it; it is made again when needed."
    )


def _cached(shard: Path, suffix: str) -> Path:
    status = shard.stat()
    text = f"{shard.absolute()}\n{status.st_size}\n{status.st_mtime_ns}"
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:20]}-{shard.name}"
    return cache_directory() / "shards" / f"{name[:200]}{suffix}"
