"""Which data a model was trained on, where they come from and what may be done with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfdml.data.format.dataset_manifest import DatasetManifest

# Up to this size of all files together their contents are read, not only their names and sizes.
_READ_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Origin:
    """One data set, as the record of a run and the model card name it.

    Attributes:
        name: of the data set.
        location: directory, file or URL, as it was given.
        digest: SHA-256 in hexadecimal, of what `digest_of` says: another one, other data.
        digest_of: "manifest", "contents", "names and sizes", or "" where there is none.
        splits: split -> number of examples.
        licence, source, description: free text; "" where nobody said.
    """

    name: str
    location: str
    digest: str = ""
    digest_of: str = ""
    splits: Mapping[str, int] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    description: str = ""

    @classmethod
    def of_manifest(
        cls,
        manifest: DatasetManifest,
        location: str | Path,
        *,
        licence: str = "",
        source: str = "",
    ) -> Origin:
        """Of shards that `tfdml convert` wrote.

        Their manifest has the checksum of every shard, so its digest is one of the contents.

        Args:
            licence, source: used where the manifest says nothing.
        """
        return cls(
            name=manifest.name,
            location=str(location),
            digest=hashlib.sha256(manifest.to_bytes()).hexdigest(),
            digest_of="manifest",
            splits={split: manifest.num_records(split) for split in manifest.splits},
            licence=manifest.licence or licence,
            source=manifest.source or source,
            description=manifest.description,
        )

    @classmethod
    def of_files(
        cls,
        name: str,
        files: Iterable[str | Path],
        *,
        location: str | Path,
        splits: Mapping[str, int] | None = None,
        licence: str = "",
        source: str = "",
        description: str = "",
    ) -> Origin:
        """Of local files that are read as they are; the digest does not depend on their order or directory.

        Contents are part of the digest where the files have 64 MiB together at most; else names and sizes are.
        """
        paths = sorted(Path(file) for file in files)
        sizes = [path.stat().st_size for path in paths]
        reads = sum(sizes) <= _READ_BYTES
        total = hashlib.sha256()
        for path, size in zip(paths, sizes, strict=True):
            total.update(f"{path.name}\0{size}\0".encode())
            if reads:
                total.update(hashlib.sha256(path.read_bytes()).digest())
        return cls(
            name=name,
            location=str(location),
            digest=total.hexdigest(),
            digest_of="contents" if reads else "names and sizes",
            splits=dict(splits or {}),
            licence=licence,
            source=source,
            description=description,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
