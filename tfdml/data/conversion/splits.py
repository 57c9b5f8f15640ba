"""Which split a row belongs to: a hash of its key says so, in all of the data or in each class by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfdml.errors import ConfigError

TRAIN = "train"
_HASHES = 1 << 64


@dataclass(frozen=True)
class Splits:
    """How rows are shared out.

    A row stays in its split when others come or go: the hash is of its key alone, not of the seed. With
    `stratify` the bounds are those of each class, so that of n rows of a class exactly floor(n * fraction)
    are in each split but the first.

    Attributes:
        fractions: split -> part of the rows, in order; the first gets what the others leave.
        stratify: the label whose classes are divided one by one; "" for all rows together.
    """

    fractions: Mapping[str, float] = field(default_factory=lambda: {TRAIN: 1.0})
    stratify: str = ""

    def __post_init__(self) -> None:
        total = sum(self.fractions.values())
        if not self.fractions or any(not 0 < part <= 1 for part in self.fractions.values()):
            raise ConfigError(
                f"The parts of splits are in (0, 1], got {_written(self.fractions)!r}. "
                "Write, for example, train:0.9,test:0.1."
            )
        if abs(total - 1) > 1e-9:
            raise ConfigError(
                f"The parts of all splits add up to 1, got {_written(self.fractions)!r}, which add up to "
                f"{total:g}."
            )

    @classmethod
    def parse(cls, text: str, stratify: str = "") -> Splits:
        """`train:0.9,test:0.1`."""
        fractions: dict[str, float] = {}
        for part in text.split(","):
            name, colon, value = part.strip().partition(":")
            try:
                number = float(value) if colon else 1.0
            except ValueError:
                raise ConfigError(
                    f"--split={text}: {value!r} is no number. Write, for example, train:0.9,test:0.1."
                ) from None
            if name in fractions:
                raise ConfigError(f"--split={text}: the split {name!r} is there twice.")
            fractions[name] = number
        return cls(fractions, stratify)

    def bounds(self) -> SplitBounds:
        """Bounds for all rows together."""
        names = tuple(self.fractions)
        return SplitBounds(names, tuple(int(end * _HASHES) for end in _ends(self.fractions)))

    def bounds_by_class(self, hashes: Mapping[int, np.ndarray]) -> SplitBounds:
        """Bounds for each class, given the hashes (uint64 [n]) of the keys of its rows."""
        by_class = {}
        for label, of_class in sorted(hashes.items()):
            ordered = np.sort(of_class)
            # Rounded, because 5 * 0.2 must not come out as 0.9999999.
            counts = [int(round(len(ordered) * end, 9)) for end in _ends(self.fractions)]
            by_class[label] = tuple(int(ordered[n - 1]) + 1 if n else 0 for n in counts)
        return SplitBounds(tuple(self.fractions), self.bounds().bounds, self.stratify, by_class)


@dataclass(frozen=True)
class SplitBounds:
    """Hashes below `bounds[i]`, and not below an earlier bound, belong to split i + 1; all others to split 0."""

    names: tuple[str, ...]
    bounds: tuple[int, ...]
    stratify: str = ""
    by_class: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def split_of(self, key: str, label: int | None = None) -> str:
        if not self.bounds:
            return self.names[0]
        bounds = self.bounds if label is None else self.by_class.get(label, self.bounds)
        hashed = hash_of(key)
        for name, bound in zip(self.names[1:], bounds, strict=True):
            if hashed < bound:
                return name
        return self.names[0]


def hash_of(key: str) -> int:
    """64 bits that say where in its split a key is: the same on every machine, for ever."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def hashes_by_class(pairs: Iterable[tuple[str, int]]) -> dict[int, np.ndarray]:
    """(key, label) of some rows -> label -> hashes of the keys, uint64."""
    found: dict[int, list[int]] = {}
    for key, label in pairs:
        found.setdefault(label, []).append(hash_of(key))
    return {label: np.array(hashes, np.uint64) for label, hashes in found.items()}


def _ends(fractions: Mapping[str, float]) -> list[float]:
    """Where the splits but the first end, when they are laid end to end from 0."""
    return np.cumsum(list(fractions.values())[1:]).tolist()


def _written(fractions: Mapping[str, float]) -> str:
    return ",".join(f"{name}:{part:g}" for name, part in fractions.items())
