"""A part of the examination in a process of its own, which may crash, hang or lack TensorFlow.

The child reads one order, a JSON object, from its standard input, and answers with one JSON object a line,
which the parent lays over each other: what was said before a crash counts. It ends when its input closes, so
that it does not outlive its parent, however that ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

DOING = "doing"  # Says what the child is at; told when it fails there.
_LOOK_SECONDS = 0.05
_END_SECONDS = 5.0  # From the child's last word to its end.
_LAST_CHARACTERS = 4000
# The same sys.path as here, whichever way this process was started: a module of TensorFlow's name in the
# working directory must be found, or not, as it would be by the parent.
_PROGRAM = """\
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
importlib.import_module("tfdml.doctor.child").serve(sys.argv[2], int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Answer:
    """What a child said. `failure` is "" where it ended by itself and with success."""

    values: dict[str, Any]
    failure: str = ""
    output: str = ""  # The last of what it printed.


class Child:
    """A running child. `close` it."""

    def __init__(self, module: str, order: Mapping[str, Any], environ: Mapping[str, str]):
        self.values: dict[str, Any] = {}
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed in `close`)
        replies, reply = os.pipe()
        with os.fdopen(reply):  # Closed here, so that the child's end is seen.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), module, str(reply)],
                env={"TF_CPP_MIN_LOG_LEVEL": "2", **environ},
                pass_fds=[reply],
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C is the parent's business.
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # Why it is gone is told when it is asked for its answer.
            self._process.stdin.write(json.dumps(dict(order)) + "\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, args=(replies,), daemon=True)
        self._reader.start()

    def _read(self, replies: int) -> None:
        with os.fdopen(replies, errors="replace") as lines:
            for line in lines:
                with suppress(ValueError):  # A last line that a crash has cut.
                    self.values = {**self.values, **json.loads(line)}

    def wait_for(self, key: str, timeout_seconds: float) -> bool:
        """Until the child has said `key`, has ended, or the time is over; whether it was said."""
        deadline = time.monotonic() + timeout_seconds
        while key not in self.values and self._reader.is_alive() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return key in self.values

    def answer(self, timeout_seconds: float) -> Answer:
        """What the child has said at its end; past the time it is killed."""
        begin = time.monotonic()
        self._reader.join(timeout_seconds)
        too_slow = self._reader.is_alive() or not self._ends_within(_END_SECONDS)
        self._kill()
        status = self._process.wait()
        at = self.values.get(DOING)
        while_doing = f" while it was {at}" if at else ""
        if too_slow:
            failure = f"did not finish within {time.monotonic() - begin:.0f} s{while_doing}"
        elif status < 0:
            failure = f"ended by {signal.Signals(-status).name}{while_doing}"
        elif status:
            failure = f"ended with status {status}{while_doing}"
        else:
            failure = ""
        return Answer(dict(self.values), failure, self._last_words())

    def close(self) -> None:
        """End the child, if it still runs."""
        self._kill()
        self._process.wait()
        self._reader.join()
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._output.close()

    def _ends_within(self, seconds: float) -> bool:
        """Whether the process ends; it stays a zombie, so that its number still is its group's."""
        deadline = time.monotonic() + seconds
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, self._process.pid, options) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _kill(self) -> None:
        """End the whole group, what the child has started too. Leaves the status of an ended child as it is."""
        if self._process.returncode is None:
            # SIGKILL: TensorFlow's own handler of SIGTERM lets the process live.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        if self._output.closed:
            return ""
        self._output.seek(0)
        return self._output.read()[-_LAST_CHARACTERS:].rstrip()


# -- in the child


def serve(module: str, reply_fd: int) -> None:
    """Call `main(order, say)` of `module`; `say(key=value)` tells the parent."""
    order = json.loads(sys.stdin.readline() or "{}")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    replies = os.fdopen(reply_fd, "w")

    def say(**values: Any) -> None:
        replies.write(json.dumps(values) + "\n")
        replies.flush()

    status = 0
    try:
        main: Callable[..., None] = importlib.import_module(module).main
        main(order, say)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr, replies):
        stream.flush()
    os._exit(status)  # What TensorFlow does at its end can wait for other tasks.


def _end_with_parent() -> None:
    with suppress(OSError, ValueError):
        while sys.stdin.read(1):
            pass
    os.killpg(0, signal.SIGKILL)  # Its own group, which is what it has started too.
