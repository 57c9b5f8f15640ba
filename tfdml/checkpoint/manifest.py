"""The manifest of a snapshot, written last: with it the snapshot is there, without it there is none."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tfdml.checkpoint.damage import Damaged, found_damaged
from tfdml.checkpoint.part_file import PartDigest, crc32c
from tfdml.checkpoint.position import Position
from tfdml.errors import ConfigError
from tfdml.version import __version__

FORMAT = 2
MANIFEST = "manifest.json"

_NAME = re.compile(r"snapshot-(\d{12})-([0-9a-f]{6})-(\d{4,})")


@dataclass(frozen=True, order=True)
class SnapshotName:
    """The directory of a snapshot. No two saves share one, so that none is ever written over.

    Attributes:
        step: how many steps were trained; run: which start of the job saved it; save: its how many-th begun save.
    """

    step: int
    run: str
    save: int

    def __str__(self) -> str:
        return f"snapshot-{self.step:012d}-{self.run}-{self.save:04d}"


def parse_name(text: str) -> SnapshotName | None:
    match = _NAME.fullmatch(text)
    return SnapshotName(int(match[1]), match[2], int(match[3])) if match else None


def part_name(task: int) -> str:
    """The file of a task's part, in the directory of the snapshot."""
    return f"task-{task:05d}.bin"


@dataclass(frozen=True)
class Manifest:
    """What a snapshot consists of.

    Attributes:
        number: how many snapshots had been committed to the directory with this one: their order.
        parts: of every task, in their order.
        facts: what else is worth knowing (thread counts, versions), by name; of no meaning here.
    """

    name: SnapshotName
    position: Position
    number: int
    parts: Sequence[PartDigest]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts)

    def to_bytes(self) -> bytes:
        content = {
            "format": FORMAT,
            "tfdml": __version__,
            "saved_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "name": str(self.name),
            "number": self.number,
            "position": asdict(self.position),
            "parts": [asdict(part) for part in self.parts],
            "facts": dict(self.facts),
        }
        return sealed(content)


def parse_manifest(data: bytes, directory: str) -> Manifest:
    """The manifest of the snapshot in `directory` (its last component).

    Raises:
        Damaged: the bytes are not what was written.
        ConfigError: a later version of tfdml wrote them; falling back would throw work away.
    """
    content = unsealed(data, MANIFEST)
    if content["format"] > FORMAT:
        raise ConfigError(
            f"snapshot {directory} has format {content['format']}, written by tfdml {content['tfdml']}; this is "
            f"tfdml {__version__}, which reads formats up to {FORMAT}. Update tfdml, or use another directory."
        )
    name = parse_name(content["name"])
    if name is None or str(name) != directory:
        raise Damaged(f"{MANIFEST} is of {content['name']}")
    return Manifest(
        name=name,
        position=Position(**content["position"]),
        number=content["number"],
        parts=[PartDigest(**part) for part in content["parts"]],
        facts=content["facts"],
    )


def sealed(content: Mapping[str, Any]) -> bytes:
    """`content` as a JSON file that carries its own checksum."""
    seal = f"{crc32c(_canonical(content)):08x}"
    return json.dumps({**content, "crc32c": seal}, indent=1).encode()


def unsealed(data: bytes, name: str) -> dict[str, Any]:
    """The content of a sealed file.

    Raises:
        Damaged: the bytes are not what was written.
    """
    with found_damaged():
        try:
            content = json.loads(data)
            seal = content.pop("crc32c")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise Damaged(f"{name} is not what was written ({len(data):,} bytes)") from None
        if seal != f"{crc32c(_canonical(content)):08x}":
            raise Damaged(f"{name} has another checksum than it says")
        return dict(content)


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
