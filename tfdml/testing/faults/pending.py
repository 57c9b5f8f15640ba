"""A fault that this process waits for: when it is due, and what then happens."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import threading
import time

from tfdml.testing.faults.fault import Fault

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "preempt": signal.SIGTERM}


class Pending:
    """`fault` in the task that it is for. Its events are steps from 0, or openings or renamings of files from 1."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.has_begun = False
        self._is_off = False
        self._files = itertools.count(1)  # `next` is atomic: files are opened in any thread
        self._first = fault.nth if fault.is_about_files else fault.at

    def due(self, begin: int, end: int) -> int:
        """How many events of [begin, end) it falls on; the first ever is announced, and none come if it is off."""
        assert not isinstance(self._first, str)
        first = int(self._first)
        number = min(end, first + self.fault.times) - max(begin, first)
        return max(number, 0) if number > 0 and self._begin() else 0

    def happen(self, begin: int, end: int) -> None:
        """Let it happen if it falls on events of [begin, end)."""
        number = self.due(begin, end)
        if number:
            self._act(number)

    def happen_now(self) -> None:
        """Let it happen because its time has come."""
        if self._begin():
            self._act(1)

    def happen_to_file(self, path: str) -> None:
        """Count a file, and let it happen if it falls on this one.

        Raises:
            OSError: ENOSPC, if that is the fault.
        """
        number = next(self._files)
        if not self.due(number, number + 1):
            return
        if self.fault.kind == "full_disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self._act(1)

    def _begin(self) -> bool:
        """Whether it happens; the first time, say so and make the file that keeps it from happening again."""
        if self.has_begun or self._is_off:
            return self.has_begun
        if self.fault.once:
            try:
                os.close(os.open(self.fault.once, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            except FileExistsError:
                self._is_off = True
                return False
        self.has_begun = True
        announce(f"now comes the fault that was asked for: {self.fault.text}")
        return True

    def _act(self, number: int) -> None:
        if self.fault.kind == "slow":
            time.sleep(number * self.fault.sleep_seconds)
        elif self.fault.kind == "deadlock":
            deadlock()
        else:
            os.kill(os.getpid(), _SIGNALS[self.fault.kind])


def announce(text: str) -> None:
    """A line on standard error, at once: the process may have no later."""
    os.write(2, f"tfdml: {text}\n".encode(errors="backslashreplace"))


def deadlock() -> None:
    """Two threads, of which each holds the lock that the other wants. Signal handlers still run, nothing else."""
    mine, other = threading.Lock(), threading.Lock()
    is_held = threading.Event()

    def hold_the_other() -> None:
        with other:
            is_held.set()
            with mine:
                pass

    with mine:
        threading.Thread(target=hold_the_other, name="deadlock", daemon=True).start()
        is_held.wait()
        with other:
            pass
