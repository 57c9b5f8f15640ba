"""Writers of records, several at once, on a thread of their own: no writer makes training wait, and none ends it."""

from __future__ import annotations

import errno
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from tfdml.monitoring.records import Event, Record

_log = logging.getLogger("tfdml")

# Records that wait for a writer that is slow; more of them are left out.
_MOST_WAITING = 10_000
_CLOSE_SECONDS = 30.0


class MetricWriter(Protocol):
    """Shows records in some place; leaves out those that it has no place for.

    Attributes:
        name: what it is called in a warning.
    """

    name: str

    def write(self, record: Record) -> None:
        """Show one record. What it raises puts an end to this writer, and to nothing else."""

    def close(self) -> None:
        """All is written."""


class Writers:
    """Hands every record to all writers; one that fails is told of once, and left out from then on.

    Args:
        openings: by name, how each writer is made: what cannot be opened is left out in the same way.
        warn: takes the sentence.
    """

    def __init__(
        self,
        openings: Mapping[str, Callable[[], MetricWriter]],
        warn: Callable[[str], None] = _log.warning,
    ):
        self._warn = warn
        self._openings = dict(openings)
        self._writers: list[MetricWriter] = []
        self._waiting: queue.Queue[Record | None] = queue.Queue(_MOST_WAITING)
        self._was_full = False
        self._closed = False
        self._last_step = 0
        self._thread = threading.Thread(target=self._work, name="tfdml-monitoring", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            if not self._was_full:
                self._warn(
                    "monitoring: writers do not keep up, and some of what they are told is left out"
                )
            self._was_full = True

    def flush(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Wait until what was written so far has been given to all writers."""
        done = threading.Event()
        self._waiting.put(_Flush(done))  # type: ignore[arg-type]
        done.wait(seconds)

    def close(self) -> None:
        """Write what waits, and end; after half a minute without an end, give it up."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn(
                "monitoring: a writer did not end in time; the end of what it shows is missing"
            )

    def _work(self) -> None:
        for name, opening in self._openings.items():
            try:
                self._writers.append(opening())
            except Exception as error:
                self._leave_out(name, error)
        while (record := self._waiting.get()) is not None:
            if isinstance(record, _Flush):
                record.done.set()
                continue
            self._last_step = getattr(record, "step", self._last_step)
            for writer in list(self._writers):
                try:
                    writer.write(record)
                except Exception as error:
                    self._writers.remove(writer)
                    self._leave_out(writer.name, error)
        for writer in self._writers:
            try:
                writer.close()
            except Exception as error:
                self._leave_out(writer.name, error)

    def _leave_out(self, name: str, error: Exception) -> None:
        message = f"{name} is left out from now on, training goes on: {_reason(error)}"
        self._warn(f"monitoring: {message}")
        if not self._closed:
            self.write(Event(self._last_step, "warning", "", name, message))


class _Flush:
    def __init__(self, done: threading.Event):
        self.done = done


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{text}. Choose another port, or end what has it."
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left" in text:
        return f"{text}. Free some space; what is written later begins with the next run."
    return text[:500]
