"""manifest.json: what a directory of shards holds, written last, so that it marks a finished one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfdml.data.format.features import Feature, Schema, make_schema
from tfdml.data.format.record_file import check_compression
from tfdml.data.format.summary import Summary
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole
from tfdml.version import __version__

FILE_NAME = "manifest.json"
FORMAT_VERSION = 2

# feature -> what is measured ("value", "bytes", "height", "width", "length") -> its summary
Statistics = Mapping[str, Mapping[str, Summary]]
# feature -> label -> how many records have it
Histogram = Mapping[str, Mapping[int, int]]


class DamagedManifest(DataError):
    """A manifest that is not what a tfdml wrote."""


class OldManifest(DataError):
    """A manifest of a version that is no longer read."""


class NewerManifest(DataError):
    """A manifest of a version that this tfdml does not know yet."""


@dataclass(frozen=True)
class Shard:
    """One file of a split.

    Attributes:
        file: its name, relative to the data set's directory.
        bytes: size of the file.
        crc32c: CRC-32C of the whole file, as `RecordWriter.crc32c` has it.
    """

    file: str
    records: int
    bytes: int
    crc32c: int


@dataclass(frozen=True)
class DatasetManifest:
    """What a data set holds and where it came from.

    Attributes:
        name: of the data set; its shards' names begin with it.
        schema: its features.
        splits: split -> its shards, in order.
        compression: "GZIP" or "".
        label_histogram: split -> feature -> label -> number of records.
        statistics: split -> feature -> what is measured -> summary.
        tool_version: of the tfdml that wrote it.
        flags: of the command that wrote it, as text.
        input_digest: of names and sizes of the input files, in hexadecimal.
        skipped: how many rows were left out because of errors.
        skipped_list: the file that lists them, relative to the directory; "" when there is none.
        licence, source, description: free text about where the data come from.
    """

    name: str
    schema: Schema
    splits: Mapping[str, tuple[Shard, ...]]
    compression: str = ""
    label_histogram: Mapping[str, Histogram] = field(default_factory=dict)
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    tool_version: str = __version__
    flags: Mapping[str, str] = field(default_factory=dict)
    input_digest: str = ""
    skipped: int = 0
    skipped_list: str = ""
    licence: str = ""
    source: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        check_compression(self.compression)
        if not self.splits:
            raise DataError(f"The data set {self.name!r} has no splits.")

    def num_records(self, split: str) -> int:
        """
        Raises:
            DataError: for an unknown split.
        """
        if split not in self.splits:
            raise DataError(
                f"The data set {self.name!r} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        return sum(shard.records for shard in self.splits[split])

    def to_bytes(self) -> bytes:
        """The file's contents: the same for an equal manifest."""
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "schema": {name: feature.to_json() for name, feature in self.schema.items()},
            "splits": {
                split: [
                    {
                        "file": shard.file,
                        "records": shard.records,
                        "bytes": shard.bytes,
                        "crc32c": f"{shard.crc32c:08x}",
                    }
                    for shard in shards
                ]
                for split, shards in self.splits.items()
            },
            "compression": self.compression,
            "label_histogram": {
                split: {
                    name: {str(label): n for label, n in sorted(counts.items())}
                    for name, counts in histogram.items()
                }
                for split, histogram in self.label_histogram.items()
            },
            "statistics": {
                split: {
                    name: {what: summary.to_json() for what, summary in measured.items()}
                    for name, measured in statistics.items()
                }
                for split, statistics in self.statistics.items()
            },
            "tool_version": self.tool_version,
            "flags": dict(self.flags),
            "input_digest": self.input_digest,
            "skipped": self.skipped,
            "skipped_list": self.skipped_list,
            "licence": self.licence,
            "source": self.source,
            "description": self.description,
        }
        return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = FILE_NAME) -> DatasetManifest:
        """The manifest in a file's contents; `name` is the file's, for messages.

        Raises:
            DataError: for one that is damaged or of another version.
        """
        try:
            values = json.loads(data.decode())
            version = values["format_version"]
            if version != FORMAT_VERSION:
                what = f"{name}: format version {version}, this tfdml {__version__} reads {FORMAT_VERSION}."
                if version > FORMAT_VERSION:
                    raise NewerManifest(f"{what} Use the tfdml that wrote it, or a newer one.")
                raise OldManifest(f"{what} Convert again.")
            return cls._from_values(values)
        except (NewerManifest, OldManifest):
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DamagedManifest(f"{name}: damaged ({error!r}). Convert again.") from None

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> DatasetManifest:
        features = [(k, Feature.from_json(v)) for k, v in values["schema"].items()]
        return cls(
            name=values["name"],
            schema=make_schema(features),
            splits={
                split: tuple(
                    Shard(str(s["file"]), int(s["records"]), int(s["bytes"]), int(s["crc32c"], 16))
                    for s in shards
                )
                for split, shards in values["splits"].items()
            },
            compression=values["compression"],
            label_histogram={
                split: {
                    name: {int(label): n for label, n in counts.items()}
                    for name, counts in histogram.items()
                }
                for split, histogram in values["label_histogram"].items()
            },
            statistics={
                split: {
                    name: {what: Summary.from_json(v) for what, v in measured.items()}
                    for name, measured in statistics.items()
                }
                for split, statistics in values["statistics"].items()
            },
            tool_version=values["tool_version"],
            flags=values["flags"],
            input_digest=values["input_digest"],
            skipped=int(values["skipped"]),
            skipped_list=values["skipped_list"],
            licence=values["licence"],
            source=values["source"],
            description=values["description"],
        )

    def write(self, directory: Path) -> None:
        """Write it into a local directory, whole or not at all."""
        with appears_when_whole(directory / FILE_NAME) as file:
            file.write_bytes(self.to_bytes())

    @classmethod
    def read(cls, directory: Path) -> DatasetManifest:
        """The manifest of a local directory.

        Raises:
            DataError: when the directory or its manifest is missing, damaged or of another version.
        """
        if not directory.is_dir():
            raise DataError(f"{directory}: no such directory. Write one with tfdml convert.")
        file = directory / FILE_NAME
        try:
            return cls.from_bytes(file.read_bytes(), str(file))
        except FileNotFoundError:
            raise DataError(
                f"{directory}: no {FILE_NAME}, so no finished conversion. Convert again."
            ) from None
