"""The files in which the tasks of a job say that they get on, and what can be told from them.

`tfdml/heartbeat.py` is the other end: what a task writes.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tfdml import heartbeat
from tfdml.heartbeat import Beat
from tfdml.launch.guard import Guard

LOOK_SECONDS = 1.0


class HeartbeatDirectory:
    """A private directory with a file for each task of each start. Close it when all tasks have ended.

    Without a file, where none can be made, a task does all the same, unwatched: `problem` says why.
    """

    def __init__(self, guard: Guard) -> None:
        self.problem = ""
        self._path: Path | None = None
        self._num_made = 0
        try:
            # Named to the guard before it exists, so that there is no moment in which nobody would remove it.
            path = Path(tempfile.gettempdir(), f"tfdml-{secrets.token_hex(8)}")
            guard.adopt(str(path))
            path.mkdir(mode=0o700)
        except OSError as error:
            self.problem = error.strerror or str(error)
            return
        self._path = path

    def new_file(self) -> Path | None:
        if self._path is None:
            return None
        path = self._path / str(self._num_made)
        self._num_made += 1
        try:
            # All of it, now: a disk that is full later must not end the task that writes to its memory.
            path.write_bytes(bytes(heartbeat.NUM_BYTES))
        except OSError as error:
            self.problem = error.strerror or str(error)
            return None
        return path

    def remove(self, files: Iterable[Path]) -> None:
        for path in files:
            with suppress(OSError):
                path.unlink()

    def close(self) -> None:
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)


class Heartbeats:
    """What the tasks of one start say, by their position among this launcher's tasks.

    `files` has a file for each task of this host. With `timeout_seconds` of 0 nothing is ever silent.
    """

    def __init__(self, files: dict[int, Path], timeout_seconds: float) -> None:
        self._files = files
        self.timeout_seconds = timeout_seconds
        self._counts: dict[int, int] = {}
        self._silent_seconds = 0.0
        self._looked_at = time.monotonic()
        self.look_seconds = min(LOOK_SECONDS, timeout_seconds / 4) if timeout_seconds else None

    def read(self, position: int) -> Beat:
        path = self._files.get(position)
        return heartbeat.read(path) if path is not None else Beat(0, 0, False)

    @property
    def furthest_step(self) -> int:
        """Of any task: one that was killed may not have noted its last step."""
        return max((heartbeat.read(path).step for path in self._files.values()), default=0)

    def are_silent(self, running: Sequence[int]) -> bool:
        """Whether none of the tasks that run has said anything for the time limit, after one had.

        To be asked every `look_seconds`. Time in which nobody looked counts as one look: with the launcher
        the tasks may have stood still too, as when a virtual machine is moved.
        """
        now = time.monotonic()
        elapsed, self._looked_at = now - self._looked_at, now
        counts = {position: self.read(position).count for position in running}
        if counts != self._counts or not any(counts.values()):
            self._counts, self._silent_seconds = counts, 0.0
            return False
        if self.look_seconds is None:
            return False
        self._silent_seconds += min(elapsed, 2 * self.look_seconds)
        return self._silent_seconds >= self.timeout_seconds


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped the process (SIGSTOP, say): it would not even notice SIGTERM."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return False
    # The state follows the name, which is in parentheses and may have any characters.
    return stat.rpartition(b")")[2].split()[:1] == [b"T"]
