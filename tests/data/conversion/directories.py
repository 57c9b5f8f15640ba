"""What converted directories hold, read back for comparison."""

from __future__ import annotations

from pathlib import Path

from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.format.example import decode
from tfdml.data.format.record_file import read_records


def contents(directory: Path) -> dict[str, bytes]:
    """Relative name -> bytes of every file, hidden ones too."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def rows(directory: Path, split: str) -> list[dict]:
    """The rows of a split in the order of its shards."""
    manifest = DatasetManifest.read(directory)
    return [
        decode(record, manifest.schema)
        for shard in manifest.splits[split]
        for record in read_records(directory / shard.file)
    ]
