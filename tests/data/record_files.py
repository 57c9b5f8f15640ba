"""Small shards for tests of reading: records that say who they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfdml.data.format.record_file import write_records


def write_shards(directory: Path, sizes: Sequence[int], *, compression: str = "") -> list[Path]:
    """Shards of `sizes` records, uncompressed or GZIP; record i begins with its number and has i % 50 bytes more."""
    directory.mkdir(parents=True, exist_ok=True)
    paths, first = [], 0
    for number, size in enumerate(sizes):
        path = directory / f"numbers-train.tfrecord-{number:05d}-of-{len(sizes):05d}"
        write_records(path, [record(i) for i in range(first, first + size)], compression)
        paths.append(path)
        first += size
    return paths


def record(number: int) -> bytes:
    return np.int64(number).tobytes() + bytes([number % 256]) * (number % 50)
