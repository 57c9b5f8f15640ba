"""Which snapshots to keep: the last few, and every Nth for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.checkpoint.manifest import Manifest
from tfdml.errors import ConfigError


@dataclass(frozen=True)
class Retention:
    """Attributes:
    last: how many of the newest to keep, at least 1; 2 and more leave one to fall back to.
    every: also keep every `every`-th for ever; 0 keeps none but the last.
    """

    last: int = 2
    every: int = 0

    def __post_init__(self) -> None:
        if self.last < 1:
            raise ConfigError(
                f"`keep` must be at least 1, got {self.last}. Use 2 to have one to fall back to."
            )
        if self.every < 0:
            raise ConfigError(
                f"`keep_every` must be 0 or more, got {self.every}. Use 10 to keep every tenth for ever, 0 for none."
            )

    def superfluous(self, snapshots: Sequence[Manifest]) -> list[Manifest]:
        """What may go, of `snapshots` in any order; every one of them is whole."""
        newest_first = sorted(snapshots, key=lambda each: each.number, reverse=True)
        return [
            each
            for each in newest_first[self.last :]
            if not (self.every and each.number % self.every == 0)
        ]
