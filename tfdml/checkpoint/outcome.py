"""What became of one save; the same on every task."""

from __future__ import annotations

from dataclasses import dataclass

from tfdml.checkpoint.position import Position


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    name: of the snapshot.
    error: why it could not be saved, in one sentence; "" where it was. Older snapshots are as they were.
    mirror_error: why the copy of an earlier snapshot to the remote directory failed; told once; on the chief.
    num_bytes: what this task wrote.
    pause_seconds: for how long training stood still for it on this task.
    seconds: from the beginning until all tasks knew that it was saved.
    """

    name: str
    position: Position
    error: str
    mirror_error: str
    num_bytes: int
    pause_seconds: float
    seconds: float

    @property
    def saved(self) -> bool:
        return not self.error
