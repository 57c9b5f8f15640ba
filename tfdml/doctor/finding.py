"""Finding: one thing that a check has to say, and how bad it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfdml.errors import ConfigError

# ok: as it should be. note: worth knowing. warning: works, but slower or other than meant.
# error: a job would fail, hang, or silently train something else.
LEVELS = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One sentence of a check.

    Attributes:
        name: of the check, in words.
        level: one of `LEVELS`.
        text: what was found, with figures.
        remedy: what to do about it.
        figures: the same for programs.
    """

    name: str
    level: str
    text: str
    remedy: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ConfigError(
                f"the level of a finding must be one of {', '.join(LEVELS)}, got {self.level!r}."
            )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def would_fail(findings: Iterable[Finding]) -> bool:
    """Whether a job would fail, as far as these know."""
    return any(finding.level == "error" for finding in findings)
