"""Names of TFRecord shards, and which files make a split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfdml.errors import ConfigError, DataError

# Both conventions that are alive, in the order in which they are tried, and single files.
# No dot in the second: TensorFlow's checkpoints are called NAME.data-00000-of-00001.
_TFDS_NAME = re.compile(
    r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecords?-(?P<index>\d{5,})-of-(?P<count>\d{5,})"
)
_GARDEN_NAME = re.compile(
    r"(?P<stem>[^.]+)-(?P<index>\d{5,})-of-(?P<count>\d{5,})(\.tfrecords?|\.tfrec)?(\.gz)?"
)
_SINGLE_NAME = re.compile(r"(?P<stem>.+?)(\.tfrecords?|\.tfrec)(\.gz)?")
# Model Garden calls shards train-00000-of-01024; other people put a name before the split.
_SPLIT_WORDS = "train|training|test|testing|val|valid|validation|dev|eval|evaluation|holdout"
_NAME_AND_SPLIT = re.compile(rf"(?P<name>.+)[-_](?P<split>{_SPLIT_WORDS})")

_SPLIT = re.compile(r"\w+")
_NOT_IN_NAMES = re.compile(r"[/{}*?\[\]\x00-\x1f]|^\.|^$")  # paths, patterns of TFDS, hidden files


def shard_name(name: str, split: str, index: int, count: int) -> str:
    """`digits-train.tfrecord-00000-of-00004`, the naming of TensorFlow Datasets."""
    return f"{name}-{split}.tfrecord-{index:05d}-of-{count:05d}"


@dataclass(frozen=True)
class ShardName:
    """What the name of a shard says; `name` is "" where it has none beside the split."""

    name: str
    split: str
    index: int
    count: int


def parse_shard_name(file: str) -> ShardName | None:
    """What a file's name says, in one of these forms; None for other files.

    digits-train.tfrecord-00000-of-00004 (TensorFlow Datasets), train-00000-of-00004[.tfrecord] and
    digits-train-00000-of-00004[.tfrecord] (Model Garden), train.tfrecord.
    """
    if "/" in file or file.startswith("."):
        return None
    if match := _TFDS_NAME.fullmatch(file):
        return ShardName(match["name"], match["split"], int(match["index"]), int(match["count"]))
    if match := _GARDEN_NAME.fullmatch(file):
        index, count = int(match["index"]), int(match["count"])
    elif match := _SINGLE_NAME.fullmatch(file):
        index, count = 0, 1
    else:
        return None
    if named := _NAME_AND_SPLIT.fullmatch(match["stem"]):
        return ShardName(named["name"], named["split"], index, count)
    return ShardName("", match["stem"], index, count)


def check_names(name: str, splits: Iterable[str]) -> None:
    """Check that a data set and its splits can be called so, also by TFDS.

    Raises:
        ConfigError: for a name that cannot be part of a file's name, or a split's that is no word.
    """
    if _NOT_IN_NAMES.search(name):
        raise ConfigError(
            f"A data set's name is part of its files' names: no slashes, no {{}}[]*?, no dot at its "
            f"start; got {name!r}. Choose another with --name."
        )
    for split in splits:
        if not _SPLIT.fullmatch(split) or split == "all":
            raise ConfigError(
                f"A split's name has letters, digits and underscores, and is not 'all', which means "
                f"every split to TFDS; got {split!r}."
            )


def find_shards(directory: Path, split: str) -> list[Path]:
    """The shards of one split, in order.

    Raises:
        DataError: when there is no such directory, no such split, or a shard is missing.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory of TFRecord shards.")
    names = [path.name for path in directory.iterdir() if path.is_file()]
    found = shards_by_split(names)
    if split not in found:
        there = f"the splits {', '.join(found)}" if found else "no shards at all"
        raise DataError(
            f"{directory}: no shards of the split {split!r}, there are {there}; "
            f"they are named like {shard_name('NAME', split, 0, 16)}."
        )
    check_complete(str(directory), split, found[split])
    return [directory / file for file in found[split]]


def shards_by_split(files: Iterable[str]) -> dict[str, dict[str, ShardName]]:
    """Of the files that are shards: split -> file -> what its name says, in the order of the shards."""
    found: dict[str, dict[str, ShardName]] = {}
    for file in sorted(files):
        if shard := parse_shard_name(file):
            found.setdefault(shard.split, {})[file] = shard
    order = lambda item: (item[1].index, item[0])
    return {split: dict(sorted(shards.items(), key=order)) for split, shards in found.items()}


def check_complete(directory: str, split: str, shards: Mapping[str, ShardName]) -> None:
    """
    Raises:
        DataError: for shards of several conversions, or when one is missing.
    """
    families = sorted({(shard.name, shard.count) for shard in shards.values()})
    if len(families) > 1:
        of = ", ".join(f"{name} of {count}".strip() for name, count in families)
        raise DataError(
            f"{directory}: the split {split!r} has shards of {len(families)} conversions "
            f"({of}). Convert into an empty directory."
        )
    count = families[0][1]
    missing = sorted(set(range(count)) - {shard.index for shard in shards.values()})
    if missing:
        raise DataError(
            f"{directory}: the split {split!r} lacks {len(missing)} of {count} shards, "
            f"the first is number {missing[0]:05d}. Convert again."
        )
    if len(shards) > count:
        raise DataError(
            f"{directory}: the split {split!r} has {len(shards)} files for {count} shards. "
            "Remove those that do not belong to it."
        )
