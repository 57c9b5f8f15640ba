"""Faults that wait beside the training: for a file to be opened or renamed, or for a time to pass.

Files are watched by an audit hook of the interpreter (PEP 578), which hears of every `open`, `os.open` and
`os.rename` before it happens, in whatever code. It does not hear of files that C++ writes, such as those of
TensorFlow's own checkpoints.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from tfdml.testing.faults.pending import Pending

_watching: list[Pending] = []


def wait_for(pending: Pending) -> None:
    """Let it happen when its file or its time comes. There is no way back: hooks stay for the process's life."""
    if pending.fault.trigger == "after_seconds":
        timer = threading.Timer(float(pending.fault.at), pending.happen_now)
        timer.daemon = True
        timer.start()
        return
    if not _watching:
        sys.addaudithook(_hear)
    _watching.append(pending)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        trigger = "write" if flags & (os.O_WRONLY | os.O_RDWR) else "read"
        names = [_name(path)]
    elif event == "os.rename":
        trigger, names = "rename", [_name(path) for path in arguments[:2]]
    else:
        return
    for pending in _watching:
        text = pending.fault.at
        if pending.fault.trigger == trigger and any(text in name for name in names):  # type: ignore[operator]
            pending.happen_to_file(names[-1])


def _name(path: Any) -> str:
    """The path as text; "" for a descriptor."""
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
