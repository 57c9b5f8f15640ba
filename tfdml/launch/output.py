"""Every line that a task prints: whole, with the task's name, on the console and in its log."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from tfdml.errors import ConfigError

TAIL_LINES = 20
GREETING = b"tfdml launch: "
# What a task prints when it is about to fail. All tasks of a job often fail alike, so it is kept
# from the console for as long as a task may take to end: the job shows the root cause's, once.
_LAST_WORDS = re.compile(rb'Traceback \(most recent call last\):|  File "|error: |ssh: ')
LAST_WORDS_SECONDS = 3.0
LAST_WORDS_LINES = 100
PROGRESS_SECONDS = 10.0
MAX_LINE_BYTES = 64 * 1024
_COLOURS = (36, 33, 35, 32, 34, 31)  # ANSI; cyan first, red last because it looks like an error.


class LineSplitter:
    r"""Cuts a stream of bytes into lines.

    A carriage return starts a line over, as on a terminal. Of what is overwritten (progress bars)
    the last state is kept as the line, and one state every `PROGRESS_SECONDS` on the way there.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._overwritten = b""
        self._shown_at = float("-inf")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes, without their ends."""
        self._rest += data
        while True:
            end = _first(self._rest, b"\r", b"\n")
            if end is None:
                break
            if self._rest[end : end + 1] == b"\r":
                if end + 1 == len(self._rest):
                    return  # The next byte decides whether this is the end of a line.
                if self._rest[end + 1 : end + 2] != b"\n":
                    yield from self._overwrite(self._rest[:end])
                    self._rest = self._rest[end + 1 :]
                    continue
            line, _, self._rest = self._rest.partition(b"\n")
            yield self._line(line.rstrip(b"\r"))
        while len(self._rest) > MAX_LINE_BYTES:
            yield self._rest[:MAX_LINE_BYTES]
            self._rest = self._rest[MAX_LINE_BYTES:]

    def finish(self) -> Iterator[bytes]:
        """The last line, where it had no end."""
        line = self._line(self._rest.rstrip(b"\r"))
        self._rest = b""
        if line:
            yield line

    def _overwrite(self, state: bytes) -> Iterator[bytes]:
        if not state:
            return
        self._overwritten = state
        if time.monotonic() - self._shown_at >= PROGRESS_SECONDS:
            self._shown_at = time.monotonic()
            self._overwritten = b""
            yield state

    def _line(self, line: bytes) -> bytes:
        line = line or self._overwritten
        self._overwritten = b""
        return line


def _first(data: bytes, *ends: bytes) -> int | None:
    return min((i for i in map(data.find, ends) if i >= 0), default=None)


class Console:
    """Standard output, shared by the threads that read the tasks' pipes."""

    def __init__(
        self, stream: BinaryIO, *, colour: bool, on_closed: Callable[[], None] = lambda: None
    ) -> None:
        """`on_closed` is called once, when nobody reads the output any longer."""
        self._stream = stream
        self._colour = colour
        self._on_closed = on_closed
        self._closed = False
        self._lock = threading.Lock()

    def prefix(self, name: str, position: int) -> bytes:
        text = f"[{name}]".encode()
        if self._colour:
            text = b"\x1b[%dm%s\x1b[0m" % (_COLOURS[position % len(_COLOURS)], text)
        return text + b" "

    def write(self, prefix: bytes, lines: list[bytes]) -> None:
        with self._lock:
            if not lines or self._closed:
                return
            try:
                self._stream.write(b"".join(prefix + line + b"\n" for line in lines))
                self._stream.flush()
            except BrokenPipeError:
                self._closed = True
                # What is left in the buffer goes nowhere, without a complaint at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
                self._on_closed()
            except OSError:
                # A file on a disk that is full, say: a task must not wait for ever for its lines to be read.
                pass


class TaskOutput:
    """What one task prints. A thread reads its pipe until all who could write to it have ended."""

    def __init__(
        self,
        name: str,
        position: int,
        console: Console,
        log_path: Path | None,
        log_note: str = "",
    ) -> None:
        """`log_note` says in the log file which start of the job this is."""
        self._console = console
        self._prefix = console.prefix(name, position)
        self._log = None if log_path is None else _open_log(log_path, log_note)
        self._log_problem = ""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._last_words: list[bytes] = []
        self._last_words_at = 0.0
        self._lock = threading.RLock()
        self._muted = False
        self._keeps_back = True
        self.greeted = False  # Whether a launcher, of another host, has said something in it.
        read_fd, self.write_fd = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(read_fd,), daemon=True)
        self._thread.start()

    def close_write_end(self) -> None:
        """To be called once the task holds the write end itself."""
        os.close(self.write_fd)

    def mute(self) -> None:
        """Keep further lines from the console; the log file still gets them."""
        self._muted = True

    def show_all(self) -> None:
        """Put everything on the console from now on, at once, and what has been kept from it before."""
        with self._lock:
            self._muted = self._keeps_back = False
            self.release()

    def finish(self, timeout_seconds: float) -> None:
        """Wait until everything printed has arrived."""
        self._thread.join(timeout_seconds)

    def last_lines(self) -> list[str]:
        """Of a task that has failed: its last words, or else its last lines, oldest first."""
        lines = self._last_words or tuple(self._tail)
        return [line.decode(errors="replace") for line in lines]

    @property
    def is_kept_back(self) -> bool:
        """Whether some of the last lines have not been on the console."""
        return self._muted or bool(self._last_words)

    def release(self) -> None:
        """Show what was kept back after all: the task has not failed."""
        with self._lock:
            self._show(self._last_words)
            self._last_words = []

    def _read(self, read_fd: int) -> None:
        splitter = LineSplitter()
        while True:
            if self._last_words:
                patience = self._last_words_at + LAST_WORDS_SECONDS - time.monotonic()
                if not select.select([read_fd], [], [], max(patience, 0.0))[0]:
                    self.release()
            data = os.read(read_fd, 64 * 1024)
            self._take(list(splitter.feed(data) if data else splitter.finish()))
            if not data:
                break
        os.close(read_fd)
        if self._log is not None:
            self._log.close()

    def _take(self, lines: list[bytes]) -> None:
        self._tail.extend(lines)
        self.greeted = self.greeted or any(line.startswith(GREETING) for line in lines)
        self._write_log(lines)
        with self._lock:
            self._show_or_keep(lines)

    def _write_log(self, lines: list[bytes]) -> None:
        """Where that cannot be, as on a disk that is full, say so once: the task goes on."""
        if self._log is None:
            return
        try:
            self._log.write(b"".join(line + b"\n" for line in lines))
        except OSError as error:
            problem = f"lines are missing in {self._log.name} ({error.strerror})"
            if problem != self._log_problem:
                self._log_problem = problem
                self._console.write(GREETING, [problem.encode()])

    def _show_or_keep(self, lines: list[bytes]) -> None:
        if not self._keeps_back:
            self._show(lines)
            return
        if not self._last_words:
            first = next((i for i, line in enumerate(lines) if _LAST_WORDS.match(line)), None)
            self._show(lines[:first])
            if first is None:
                return
            lines = lines[first:]
            self._last_words_at = time.monotonic()
        self._last_words += lines
        if len(self._last_words) > LAST_WORDS_LINES:
            self.release()

    def _show(self, lines: list[bytes]) -> None:
        if not self._muted:
            self._console.write(self._prefix, lines)


def _open_log(path: Path, note: str) -> FileIO:
    """Open for appending: a job that continues in its directory keeps what it printed before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = FileIO(path, "ab")  # Without a buffer, which a full disk would leave full.
    except OSError as error:
        raise ConfigError(
            f"cannot write the log file {path} ({error.strerror}): give a directory that can be "
            "written with --log_dir."
        ) from None
    with suppress(OSError):
        log.write(f"--- started {datetime.now().isoformat(timespec='seconds')}{note}\n".encode())
    return log
