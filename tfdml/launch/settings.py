"""How the tasks of a job run, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the launcher's flags say; `tfdml launch --help` has the meaning of each."""

    start_method: str = "auto"
    log_dir: Path | None = None
    grace_period_seconds: float = 5.0
    start_timeout_seconds: float = 600.0
    max_restarts: int = 0
    restart_backoff_seconds: float = 1.0
    hang_timeout_seconds: float = 1800.0
    min_workers: int | None = None
    give_up_after: int = 3
    num_standby: int = 0
