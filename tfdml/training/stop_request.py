"""Being told to stop: SIGTERM and Ctrl-C are noticed, and answered between two executions."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from tfdml.errors import PREEMPTED_STATUS


class Preempted(SystemExit):
    """The job was told to stop (SIGTERM) and has saved; ends the process with status 42 where nobody catches it."""

    def __init__(self) -> None:
        super().__init__(PREEMPTED_STATUS)


class StopRequest:
    """In this block SIGTERM and the first Ctrl-C are noted; a second Ctrl-C interrupts at once.

    Python's handlers run when the main thread is back from TensorFlow, which is soon enough: between executions is
    where they are answered. `MultiWorkerMirroredStrategy` installs a handler of its own, which this one replaces.
    In another thread than the main one signals cannot be had, and nothing is noted.

    Attributes:
        terminate: whether SIGTERM has come.
        interrupt: whether Ctrl-C has come.
    """

    def __init__(self) -> None:
        self.terminate = False
        self.interrupt = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup and `&` leave it
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGTERM:
            self.terminate = True
        elif self.interrupt:
            raise KeyboardInterrupt
        else:
            self.interrupt = True
