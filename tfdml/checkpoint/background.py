"""One piece of work at a time in a thread; its error is told once.

The thread lives as long as its work. Python waits for such threads when it ends, so a process that finishes in the
middle of a write completes it; one that is killed leaves a file under a temporary name only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundWork:
    """Runs what it is given, never two pieces at once.

    Args:
        name: of the thread, for stack dumps.
        abandoned_at_exit: whether the end of Python does not wait for it.
    """

    def __init__(self, name: str, abandoned_at_exit: bool = False):
        self._name = name
        self._daemon = abandoned_at_exit
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], object]) -> None:
        """Begin `work`, after what is running has ended.

        Raises:
            Exception: what the work before raised, unless somebody was told already; `work` is not begun then.
        """
        self.wait()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # told by the next call, whatever it is
                self._error = error

        self._thread = threading.Thread(target=run, name=self._name, daemon=self._daemon)
        self._thread.start()

    def check(self) -> bool:
        """Whether nothing is running; raises what the work raised, once."""
        if self.is_running:
            return False
        self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until nothing is running, and return whether that is so; raises what the work raised, once."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self.check()
