"""What is to be converted into what: everything that the bytes of the result depend on, checked at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tfdml.data.conversion.splits import TRAIN, Splits
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.format.record_file import check_compression
from tfdml.data.format.shards import check_names
from tfdml.data.inputs.input import Input, InputFile
from tfdml.data.stages.stage import Stage
from tfdml.errors import ConfigError

OnError = Literal["fail", "skip", "quarantine"]

_SMALLEST_MEMORY = 16 << 20
_SMALLEST_GROUP = 1 << 20
_MEMORY_OVER_GROUP = 64


@dataclass(frozen=True)
class Conversion:
    """One conversion. The bytes that it writes depend on nothing else: not on the number of processes.

    Attributes:
        output_dir: a directory or a URL.
        name: of the data set.
        stages: steps of preprocessing, in order.
        splits: None keeps the splits that the input has, and puts all other rows into `train`.
        num_shards: files of each split; or
        shard_bytes: about the size of a file. With neither, files of 256 MiB, and at least 4 of them.
        shuffle: whether the records are shuffled while they are written, or keep their order.
        compression: "" or "GZIP".
        memory_bytes: for all processes together. What is shuffled in memory at a time depends on it, and
            with that the order of the records, so it is one of the settings that make the bytes.
        on_error: what happens to rows that cannot be used.
        max_error_fraction: the part of all rows that may be skipped.
        temp_dir: for the intermediate copy of the data; None is inside of `output_dir`.
        inherited: the manifest of the data set that this one is made of record by record, whose statistics and
            texts it keeps.
        flags: what else the input and the stages were made from, for the manifest, and for telling
            whether an unfinished conversion is the same one.
        licence, source, description: free text for the manifest.
    """

    input: Input
    output_dir: str
    name: str
    stages: tuple[Stage, ...] = ()
    splits: Splits | None = None
    num_shards: int | None = None
    shard_bytes: int | None = None
    seed: int = 0
    shuffle: bool = True
    compression: str = ""
    memory_bytes: int = 4 << 30
    on_error: OnError = "fail"
    max_error_fraction: float = 0.05
    temp_dir: Path | None = None
    inherited: DatasetManifest | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        check_names(self.name, self.splits.fractions if self.splits else ())
        if self.num_shards is not None and self.shard_bytes is not None:
            raise ConfigError(
                "`num_shards` and `shard_bytes` are both given; one says how many files."
            )
        for what, least in (
            ("num_shards", 1),
            ("shard_bytes", 1),
            ("memory_bytes", _SMALLEST_MEMORY),
        ):
            value = getattr(self, what)
            if value is not None and value < least:
                raise ConfigError(f"`{what}` must be at least {least}, got {value}.")
        if self.num_shards is not None and self.num_shards > 99_999:
            raise ConfigError(
                f"`num_shards` is at most 99999, the five digits in a file's name, got {self.num_shards}."
            )
        if self.on_error not in get_args(OnError):
            raise ConfigError(
                f"`on_error` is one of {', '.join(get_args(OnError))}, got {self.on_error!r}."
            )
        if not 0 <= self.max_error_fraction <= 1:
            raise ConfigError(
                f"`max_error_fraction` must be in [0, 1], got {self.max_error_fraction}."
            )
        if not 0 <= self.seed < 1 << 63:
            raise ConfigError(f"`seed` must be in [0, 2**63), got {self.seed}.")
        check_compression(self.compression)

    @property
    def group_bytes(self) -> int:
        """How many bytes of records are in memory at a time, in one process."""
        return max(self.memory_bytes // _MEMORY_OVER_GROUP, _SMALLEST_GROUP)

    @property
    def input_name(self) -> str:
        """What messages call the input."""
        files = self.input.files
        if not files:
            return "The input"
        return (
            files[0].path
            if len(files) == 1
            else f"{files[0].path} and {len(files) - 1} other files"
        )

    def split_parts(self) -> dict[str, float]:
        """Split -> its part of the data: as asked for, or as the input has them."""
        if self.splits is not None:
            return dict(self.splits.fractions)
        own: dict[str, int] = getattr(self.input, "split_bytes", dict)()
        if self.inherited:  # in the order that they had
            own = {split: own[split] for split in self.inherited.splits if split in own} | own
        total = sum(own.values())
        return {split: size / total for split, size in own.items()} if total else {TRAIN: 1.0}

    def settings(self) -> dict[str, str]:
        """What the bytes depend on beside the input files, as text."""
        own = {
            "name": self.name,
            "split": json.dumps(dict(self.splits.fractions)) if self.splits else "",
            "stratify": self.splits.stratify if self.splits else "",
            "num_shards": self.num_shards,
            "shard_bytes": self.shard_bytes,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "compression": self.compression or "none",
            "memory_bytes": self.memory_bytes,
            "on_error": self.on_error,
        }
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in {**self.flags, **own}.items()
            if value not in (None, "", [], ())
        }


def input_digest(files: Iterable[InputFile], *, versions: bool) -> str:
    """SHA-256 of names and sizes, in hexadecimal.

    Args:
        versions: when each file was changed too: whether an unfinished conversion may go on. Not in the
            manifest, which is the same for a copy of the data.
    """
    digest = hashlib.sha256()
    for file in files:
        version = f"\t{file.version}" if versions else ""
        digest.update(f"{file.relative}\t{file.size}{version}\n".encode())
    return digest.hexdigest()
