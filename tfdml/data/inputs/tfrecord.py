"""TFRecord shards that exist already: of tfdml, TensorFlow Datasets, Model Garden or anybody else; GZIP too."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from tfdml.data.format.example import decode
from tfdml.data.format.features import make_schema
from tfdml.data.format.index import Index, index_path
from tfdml.data.format.record_file import (
    HEADER_BYTES,
    RecordError,
    compression_of,
    framed_size,
    masked_crc32c,
    read_one,
)
from tfdml.data.format.shards import check_complete, parse_shard_name, shards_by_split
from tfdml.data.inputs import columns as table
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.stored_features import Convert, converter
from tfdml.data.inputs.stored_schema import stored_schema
from tfdml.data.inputs.tfds_leaves import check_flat
from tfdml.errors import ConfigError, DataError

_FRAGMENT_BYTES = 16 * 1024 * 1024
_SPLIT_WORDS = ("train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval")


class TfRecord(FileInput):
    """Records of shards; the schema is that of manifest.json or features.json beside them, or inferred."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = _find(patterns, options.input_split)
        self._options = options
        self._compressed = {file.path for file in self.files if compression_of(file.path)}
        where = self.files[0].path
        self._splits = {file.path: split_of(file.path) for file in self.files}
        if not all(self._splits.values()):  # of some nobody knows: so rows are split anew
            self._splits = dict.fromkeys(self._splits, "")
        known = stored_schema(self.files, options)
        self._names = check_flat(known.features, where)
        stored = {name: stored_name for stored_name, name in self._names.items()}
        used = [
            name
            for name in table.chosen((*stored, *known.left_out), options, where)
            if name in stored
        ]
        self.schema = make_schema((name, known.features[stored[name]]) for name in used)
        self._stored = {stored[name]: self.schema[name] for name in used}
        self._is_known = known.is_known
        self._key = stored.get(options.key, options.key)
        # A record is what it will be again when all of it is used, under the names that it has.
        same_names = all(name == flat for name, flat in self._names.items())
        all_used = len(used) == len(known.features) and not known.left_out
        self._is_unchanged = known.is_known and same_names and all_used
        if options.raw and not same_names:
            slash = next(name for name, flat in self._names.items() if name != flat)
            raise DataError(
                f"{where}: the records have a feature {slash!r}, and names have no slashes here. Convert "
                "them with --format=tfrecord."
            )

    def find_fragments(self) -> list[Fragment]:
        found: list[Fragment] = []
        for file in self.files:
            for start, stop, row, rows in self._cuts(file):
                found.append(
                    Fragment(len(found), file.path, start, stop, stop - start, row, (file,), rows)
                )
        return found

    def fragment_rows(self, fragment: Fragment) -> int:
        if not fragment.size_bytes:
            return 1  # the empty file, which is a bad row
        if fragment.file in self._compressed or not fragment.num_rows:
            return len(Index.of_shard(fragment.file))  # DataError for a damaged one
        return fragment.num_rows

    def split_bytes(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for file in self.files:
            found[self._splits[file.path]] += file.size
        return {split: size for split, size in found.items() if split}

    def _cuts(self, file: InputFile) -> Iterator[tuple[int, int, int, int]]:
        """(first byte, last byte, number of the first record, number of records)"""
        whole = (0, file.size, 0, 0)
        if file.path in self._compressed:
            yield whole
            return
        try:
            offsets = Index.of_shard(file.path).offsets.astype(np.int64)
        except DataError:
            yield whole  # reading will say where it is damaged
            return
        if len(offsets) == 1:
            yield whole  # an empty file has to be told of
        row, last = 0, len(offsets) - 1
        while row < last:
            end = int(np.searchsorted(offsets, offsets[row] + _FRAGMENT_BYTES))
            end = min(max(end, row + 1), last)
            yield int(offsets[row]), int(offsets[end]), row, end - row
            row = end

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        (file,) = fragment.items
        split = self._splits[file.path]
        converters = {name: converter(feature) for name, feature in self._stored.items()}
        labels = self._labels(file)
        if not file.size:
            yield BadRow(file.shown, "the file is empty")
        for number, record in self._records(file, fragment):
            location = f"{file.shown}, record {number}"
            if isinstance(record, RecordError):
                yield BadRow(location, str(record).removeprefix(f"{file.path}: "))
                continue
            key = f"{file.relative}#{number}"
            try:
                if self._options.raw:
                    values = {
                        n: self._label(n, labels, number, record) for n in self._label_names()
                    }
                    yield Row(key, values, location, split, record)
                    continue
                values = self._values(record, converters)
                if self._key:
                    key = _key_of(decode(record).get(self._key))
            except (DataError, ValueError) as error:
                yield BadRow(location, str(error).rstrip("."), record)
                continue
            yield Row(key, values, location, split, record if self._is_unchanged else None)

    def _values(self, record: bytes, converters: dict[str, Convert]) -> dict[str, Any]:
        if self._is_known:
            values = decode(record, self._stored)
            return {self._names[name]: value for name, value in values.items()}
        stored = decode(record)
        values = {}
        for name, convert in converters.items():
            try:
                if name not in stored and self._stored[name].shape != (None,):
                    raise ValueError("the record lacks it")
                values[self._names[name]] = convert(stored.get(name, []))
            except ValueError as error:
                raise ValueError(f"feature {name!r}: {error}") from None
        return values

    def _label_names(self) -> list[str]:
        return [name for name, feature in self.schema.items() if feature.kind == "label"][:1]

    def _labels(self, file: InputFile) -> np.ndarray | None:
        if not self._options.raw or not index_path(file.path).exists():
            return None
        return Index.read(index_path(file.path)).labels

    def _label(self, name: str, labels: np.ndarray | None, number: int, record: bytes) -> int:
        if labels is not None:
            return int(labels[number])
        return cast(int, decode(record, {name: self.schema[name]})[name])

    def _records(
        self, file: InputFile, fragment: Fragment
    ) -> Iterator[tuple[int, bytes | RecordError]]:
        """Numbered records; a damaged one comes as its error, and reading goes on where it can."""
        number, position = fragment.first_row, fragment.start
        compressed = file.path in self._compressed
        with _opened(file.path, compressed) as data:
            data.seek(position)
            while compressed or position < fragment.stop:
                try:
                    header = data.read(HEADER_BYTES)
                    if not header:
                        return
                    yield (
                        number,
                        read_one(header, data.read, file.path, offset=position, record=number),
                    )
                except RecordError as error:
                    yield number, error
                    if len(header) < HEADER_BYTES or _crc_is_wrong(header):
                        return  # nobody knows where the next record begins
                except (EOFError, OSError) as error:
                    reason = f"{file.path}: cannot be unpacked ({error})"
                    yield number, RecordError(reason, offset=position, record=number)
                    return
                position += framed_size(_length(header))
                number += 1


def split_of(path: str) -> str:
    """The split that a shard's name says, or ""."""
    name = Path(path).name
    shard = parse_shard_name(name)
    if shard is None:
        return ""
    return shard.split if ".tfrecord-" in name or shard.split in _SPLIT_WORDS else ""


def _find(patterns: Sequence[str], split: str) -> tuple[InputFile, ...]:
    files = find_files(patterns, (), example="data/*.tfrecord*", remote=False)
    for pattern in patterns:
        if Path(pattern).is_dir():
            shards = {f for f in files if parse_shard_name(Path(f.path).name)}
            files = tuple(file for file in files if file in shards)
            here = [Path(f.path).name for f in files if Path(f.path).parent == Path(pattern)]
            for of_split, names in shards_by_split(here).items():
                check_complete(pattern, of_split, names)
    if split:
        splits = sorted({split_of(file.path) for file in files})
        files = tuple(file for file in files if split_of(file.path) == split)
        if not files:
            raise ConfigError(
                f"--input_split={split}: the shards are of the splits {', '.join(map(repr, splits))}."
            )
    if not files:
        raise DataError(
            f"--input={', '.join(patterns)}: no TFRecord shards, which are named like "
            "NAME-train.tfrecord-00000-of-00004 or train-00000-of-00004."
        )
    return files


def _opened(path: str, compressed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if compressed else open(path, "rb"))


def _key_of(value: Any) -> str:
    if value is None or len(value) != 1:
        raise ValueError("the record has no key, or several")
    return value[0].decode(errors="replace") if isinstance(value, list) else str(value[0])


def _length(header: bytes) -> int:
    return int(struct.unpack_from("<Q", header)[0])


def _crc_is_wrong(header: bytes) -> bool:
    return masked_crc32c(header[:8]) != struct.unpack_from("<I", header, 8)[0]
