"""The Python stacks of a task that runs, into MODEL_DIR/monitoring/TASK.stacks; no TensorFlow.

A task opens the file when it begins to train, and lets Python's faulthandler write there on a signal: that works
in any state of the process, also in a call of C that never returns, and costs nothing before. Whoever asks finds in
the file what was added to it.

A signal ends a process that does not expect it, and the number of a process that has ended is given to others. So
one is sent only to a process that has this file open and has a handler for it, by what the kernel says of it.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path
from typing import IO

from tfdml.monitoring.json_lines import path_of

# One that nobody else uses: SIGQUIT is the launcher's, for the task's standard error, and SIGUSR1 and SIGUSR2 are the
# user's, who may have batch systems send them.
SIGNAL = signal.SIGRTMIN + 7

_SETTLED_SECONDS = 0.2
_open_file: IO[bytes] | None = None


def stacks_path(model_dir: Path, task: str) -> Path:
    """The file of `task` ("worker 0")."""
    return path_of(model_dir, task).with_suffix(".stacks")


def answer(path: Path) -> None:
    """From now on this process writes its stacks to `path` when it is asked; where that cannot be, it does not."""
    global _open_file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb", buffering=0)
        faulthandler.register(SIGNAL, file, all_threads=True, chain=False)
    except (OSError, RuntimeError, ValueError):
        return
    if _open_file is not None:
        _open_file.close()
    _open_file = file


def answers(pid: int, path: Path) -> bool:
    """Whether process `pid` of this host is the one that `answer`s to `path`, as far as this user may know."""
    try:
        wanted = path.stat()
        if not _catches(pid):
            return False
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                found = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue  # closed meanwhile
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    except (OSError, ValueError):
        return False
    return False


def _catches(pid: int) -> bool:
    """Whether the process has a handler for the signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) >> (SIGNAL - 1) & 1)


def ask(pid: int, path: Path) -> int:
    """Ask a process that `answers`; what it writes begins at the returned offset of `path`.

    Raises:
        OSError: it has gone, or is somebody else's.
    """
    offset = path.stat().st_size
    os.kill(pid, SIGNAL)
    return offset


def wait_for(path: Path, offset: int, timeout_seconds: float) -> str:
    """What was added to `path` after `offset`, once nothing more is added; "" where nothing was in time."""
    deadline = time.monotonic() + timeout_seconds
    size, since = offset, time.monotonic()
    while time.monotonic() < deadline:
        now = path.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        elif size > offset and time.monotonic() - since > _SETTLED_SECONDS:
            break
        time.sleep(0.02)
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")
