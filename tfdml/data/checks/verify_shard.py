"""Checks one shard against its own checksums, the manifest, its index and the schema; says all that is wrong."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np

from tfdml.data.format.dataset_directory import open_file
from tfdml.data.format.dataset_manifest import Shard
from tfdml.data.format.example import decode
from tfdml.data.format.features import Feature, Schema, label_feature
from tfdml.data.format.index import Index, index_name
from tfdml.data.format.record_file import HEADER_BYTES, RecordError, detect_compression, walk
from tfdml.errors import DataError
from tfdml.storage import Storage

_FINDINGS_KEPT = 10
_CHUNK_BYTES = 1 << 20
_DECODED_OF_UNKNOWN = 100  # every 100th record behind the sample, where their number is not known


@dataclass(frozen=True)
class ShardJob:
    """What is the same for all shards.

    Attributes:
        schema: None where records are checked, but not what is in them.
        sample: how many records of a shard are decoded, spread evenly; None for all.
        compression: what the manifest says, or None where there is no manifest.
    """

    storage: Storage
    schema: Schema | None
    sample: int | None
    compression: str | None


@dataclass(frozen=True)
class ShardTask:
    """One shard.

    Attributes:
        expected: what the manifest says of it.
        records: how many records others say that it has, such as TFDS; None where nobody does.
        has_index: whether there is a file with its index.
    """

    split: str
    file: str
    expected: Shard | None = None
    records: int | None = None
    has_index: bool = False


@dataclass
class ShardReport:
    """What was found in one shard.

    Attributes:
        findings: a sentence each.
        records: that were found, damaged ones among them.
        damaged: whether one of them does not fit its checksum, or the file ends within one.
        decoded: how many of them were decoded.
        labels: feature -> label -> number of decoded records.
    """

    findings: list[str] = field(default_factory=list)
    records: int = 0
    num_bytes: int = 0
    damaged: bool = False
    decoded: int = 0
    labels: dict[str, Counter[int]] = field(default_factory=dict)

    def limited(self) -> ShardReport:
        """The same, with the first findings only: a file of zeros is one problem, not a million."""
        if len(self.findings) > _FINDINGS_KEPT:
            more = len(self.findings) - _FINDINGS_KEPT
            self.findings[_FINDINGS_KEPT:] = [f"and {more:,} findings more"]
        return self


def check_shard(
    job: ShardJob, task: ShardTask, progress=lambda rows, num_bytes: None
) -> ShardReport:
    """Read a shard once, from its start to its end."""
    report = ShardReport()
    try:
        index = _read_index(job, task, report)
        with open_file(job.storage, task.file) as file:
            checksummed = _Checksummed(file)
            with io.BufferedReader(checksummed, _CHUNK_BYTES) as stream:
                compression = detect_compression(stream.peek(HEADER_BYTES)[:HEADER_BYTES])
                offsets = _check_records(job, task, stream, index, report, progress)
                while stream.read(_CHUNK_BYTES):  # behind damage, for the checksum and the size
                    pass
        report.num_bytes = checksummed.size
        _check_manifest(job, task, report, checksummed, compression)
        if index is not None:
            _check_index(index, offsets, report)
    except DataError as error:
        report.findings.append(_without_place(str(error), job, task))
    return report.limited()


def _check_records(
    job: ShardJob,
    task: ShardTask,
    stream: io.BufferedReader[Any],
    index: Index | None,
    report: ShardReport,
    progress,
) -> np.ndarray | None:
    """uint64 [records + 1] offsets of the shard's records, or None when they could not all be found."""
    schema = job.schema
    label = label_feature(schema) if schema else None
    labels = index.labels if index is not None else None
    first, step = _first(job, task, index), _step(job, task, index)
    starts: list[int] = []
    end, whole = 0, True
    for number, (offset, record) in enumerate(walk(stream, "")):
        starts.append(offset)
        if isinstance(record, RecordError):
            report.findings.append(_without_place(str(record), job, task))
            report.damaged = True
            whole = record.next_offset is not None
            end = record.next_offset or 0
            progress(1, 0)
            continue
        end = offset + len(record) + 16
        progress(1, len(record) + 16)
        if schema is None or (number >= first and number % step):
            continue
        values = _decode(record, schema, number, report)
        if values and label and labels is not None and number < len(labels):
            stored = int(labels[number])
            if stored != values[label]:
                report.findings.append(
                    f"the index says that record {number} has the label {stored}, it has {values[label]}"
                )
    report.records = len(starts)
    return np.array([*starts, end], np.uint64) if whole else None


def _known_records(task: ShardTask, index: Index | None) -> int | None:
    if task.expected:
        return task.expected.records
    return task.records if task.records is not None else None if index is None else len(index)


def _first(job: ShardJob, task: ShardTask, index: Index | None) -> int:
    """So many records are all decoded, where nobody knows how many there are."""
    unknown = job.sample is not None and _known_records(task, index) is None
    return job.sample if unknown and job.sample is not None else 0


def _step(job: ShardJob, task: ShardTask, index: Index | None) -> int:
    """Of how many records one is decoded."""
    if job.sample is None:
        return 1
    records = _known_records(task, index)
    return _DECODED_OF_UNKNOWN if records is None else -(-records // job.sample) or 1


def _decode(
    record: bytes, schema: Schema, number: int, report: ShardReport
) -> Mapping[str, Any] | None:
    report.decoded += 1
    try:
        values = decode(record, schema)
    except DataError as error:
        report.findings.append(f"record {number} cannot be decoded: {error}")
        return None
    for name, feature in schema.items():
        problem = _problem(feature, values[name])
        if problem:
            report.findings.append(f"record {number}: {name}: {problem}")
        if feature.kind == "label":
            report.labels.setdefault(name, Counter())[values[name]] += 1
    return values


def _problem(feature: Feature, value: Any) -> str | None:
    if feature.kind == "label":
        classes = len(feature.class_names)
        if classes and not -1 <= value < classes:
            return f"the label {value} is not in [0, {classes})"
    elif feature.kind == "text":
        try:
            value.decode()
        except UnicodeDecodeError as error:
            return f"no UTF-8 (byte {error.start})"
    elif feature.kind == "image":
        return _image_problem(feature, value)
    return None


def _image_problem(feature: Feature, image: bytes) -> str | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as opened:
            opened.verify()  # checksums and end of a PNG, after which it has to be opened again
        with Image.open(io.BytesIO(image)) as opened:
            opened.load()
            width, height = opened.size
    except Exception as error:  # Pillow's plug-ins raise what they like, struct.error among it
        return f"no image that can be read ({error})".replace("<_io.BytesIO object at ", "<")
    for what, size, expected in zip(
        ("height", "width"), (height, width), feature.shape, strict=False
    ):
        if expected is not None and size != expected:
            return f"the {what} is {size}, the schema says {expected}"
    return None


def _check_manifest(
    job: ShardJob,
    task: ShardTask,
    report: ShardReport,
    file: _Checksummed,
    compression: str,
) -> None:
    found, expected = report.findings, task.expected
    if job.compression is not None and compression != job.compression and file.size:
        words = {"": "not compressed", "GZIP": "GZIP"}
        found.append(f"is {words[compression]}, the manifest says {words[job.compression]}")
    records = _known_records(task, None)
    if records is not None and report.records != records:
        who = "the manifest" if expected else "dataset_info.json"
        found.append(f"has {report.records:,} records, {who} says {records:,}")
    if expected is None:
        return
    if file.size != expected.bytes:
        found.append(f"has {file.size:,} bytes, the manifest says {expected.bytes:,}")
    elif file.crc != expected.crc32c and not report.damaged:
        found.append(
            "its checksum is not the manifest's, though every record is whole; it was written again, "
            "or belongs to another conversion"
        )


def _read_index(job: ShardJob, task: ShardTask, report: ShardReport) -> Index | None:
    name = index_name(task.file)
    if not task.has_index:
        if task.expected:
            report.findings.append(f"has no index: {name} is missing")
        return None
    try:
        return Index.from_bytes(job.storage.read_bytes(name), name)
    except DataError as error:
        report.findings.append(f"its index cannot be used: {error}")
        return None


def _check_index(index: Index, offsets: np.ndarray | None, report: ShardReport) -> None:
    if index.shard_bytes != report.num_bytes:
        report.findings.append(
            f"its index does not fit: it is that of a shard of {index.shard_bytes:,} bytes, this one "
            f"has {report.num_bytes:,}"
        )
    elif offsets is not None and len(index) != report.records:
        report.findings.append(
            f"its index does not fit: it has {len(index):,} records, the shard {report.records:,}"
        )
    elif offsets is not None and not np.array_equal(index.offsets, offsets):
        first = int(np.argmax(index.offsets != offsets))
        report.findings.append(
            f"its index does not fit: it says that record {first} begins at byte "
            f"{index.offsets[first]}, it begins at {offsets[first]}"
        )


def _without_place(message: str, job: ShardJob, task: ShardTask) -> str:
    """Findings begin with the file's name anyway."""
    for place in (job.storage.location(task.file), ""):
        if message.startswith(f"{place}: "):
            return message.removeprefix(f"{place}: ").rstrip(".")
    return message.rstrip(".")


class _Checksummed(io.RawIOBase):
    """A file that is read once, and the checksum and size of what was read."""

    def __init__(self, file: io.BufferedReader[Any]) -> None:
        self._file = file
        self.crc = 0
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._file.read(len(buffer))
        memoryview(buffer)[: len(data)] = data
        self.crc = google_crc32c.extend(self.crc, data)
        self.size += len(data)
        return len(data)
