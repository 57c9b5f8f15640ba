"""Do all tasks see the same directory? Asked at start, because a snapshot of half the tasks is found out too late.

The chief writes a file with a random number in its name; every task must find it, and leave one of its own beside it.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tfdml.errors import DataError, TfdmlError
from tfdml.storage import Storage

OfEach = Callable[[float], list[float]]
"""Every task calls it at the same point with its own number (exact as float32), and gets those of all, in order."""

PATIENCE_SECONDS = 60.0  # NFS may hide a new file for as long as it caches names

_SEEN, _UNSEEN, _READ_ONLY = 1.0, 2.0, 3.0


def alone(number: float) -> list[float]:
    """The answers where there is one task."""
    return [number]


def tell_all(of_each: OfEach, number: int) -> int:
    """The chief's `number` (below 2^46, not negative) on every task; what the others pass does not matter."""
    high = of_each(float(number >> 23))[0]
    low = of_each(float(number & (2**23 - 1)))[0]
    return (int(high) << 23) | int(low)


def all_agree(of_each: OfEach, number: int) -> bool:
    """Whether all tasks pass the same number (below 2^46, not negative)."""
    high = of_each(float(number >> 23))
    low = of_each(float(number & (2**23 - 1)))
    return len(set(high)) == 1 and len(set(low)) == 1


def check_shared(
    directory: Path, task: int, of_each: OfEach, patience_seconds: float = PATIENCE_SECONDS
) -> str:
    """Make sure that all tasks see `directory` and can write there; every task calls it at the same point.

    Returns:
        The name of this run of the job: six hexadecimal digits, the same on every task.

    Raises:
        DataError: on every task, when one cannot; it names them.
    """
    nonce = 0
    failure = ""
    if task == 0:
        nonce = secrets.randbelow(2**24 - 1) + 1  # 0: the chief could not write
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for left in directory.glob(".seen-*"):  # of a start that was killed
                left.unlink(missing_ok=True)
            _sign(directory, nonce, task).write_text(socket.gethostname())
        except OSError as error:
            nonce, failure = 0, f" ({error.strerror})"
    nonce = tell_all(of_each, nonce)
    if nonce == 0:
        raise DataError(
            f"the chief cannot write to {directory}{failure}. Snapshots need storage that every task can write to."
        )
    answer = _SEEN if task == 0 else _look(directory, nonce, task, patience_seconds)
    answers = of_each(answer)
    if task == 0:
        for number in range(len(answers)):
            _sign(directory, nonce, number).unlink(missing_ok=True)
    for kind, what in ((_UNSEEN, "see"), (_READ_ONLY, "write to")):
        tasks = [number for number, each in enumerate(answers) if each == kind]
        if tasks:
            names = ", ".join(map(str, tasks))
            raise DataError(
                f"task{'s' if len(tasks) > 1 else ''} {names} of {len(answers)} cannot {what} the directory "
                f"{directory} of the chief. Put snapshots on storage that every task sees under this name."
            )
    return f"{nonce:06x}"


def check_shared_remote(storage: Storage, task: int, of_each: OfEach) -> str:
    """The same for a directory behind a URL, where a task that cannot write may have no credentials."""
    nonce, failure = 0, ""
    if task == 0:
        nonce = secrets.randbelow(2**24 - 1) + 1
        try:
            storage.write_bytes(f"seen-{nonce:06x}", socket.gethostname().encode())
        except TfdmlError as error:
            nonce, failure = 0, str(error)
    nonce = tell_all(of_each, nonce)
    if nonce == 0:
        raise DataError(
            failure or f"the chief cannot write to {storage}; its own message says why."
        )
    try:
        if task:
            storage.write_bytes(f"seen-{nonce:06x}-{task}", b"")
            storage.remove(f"seen-{nonce:06x}-{task}")
        failure = "" if storage.exists(f"seen-{nonce:06x}") else "no such file"
    except TfdmlError as error:
        failure = str(error)
    answers = of_each(_UNSEEN if failure else _SEEN)
    if task == 0:
        storage.remove(f"seen-{nonce:06x}")
    tasks = [number for number, each in enumerate(answers) if each != _SEEN]
    if tasks:
        names = ", ".join(map(str, tasks))
        reason = f" ({failure})" if failure else ""
        raise DataError(
            f"task{'s' if len(tasks) > 1 else ''} {names} of {len(answers)} cannot use {storage}{reason}. "
            "Give every task the same URL and credentials that may write there."
        )
    return f"{nonce:06x}"


def _look(directory: Path, nonce: int, task: int, patience_seconds: float) -> float:
    give_up = time.monotonic() + patience_seconds
    while not _sign(directory, nonce, 0).exists():
        if time.monotonic() > give_up:
            return _UNSEEN
        time.sleep(0.1)
    try:
        _sign(directory, nonce, task).write_text(socket.gethostname())
    except OSError:
        return _READ_ONLY
    return _SEEN


def _sign(directory: Path, nonce: int, task: int) -> Path:
    return directory / f".seen-{nonce:06x}-{task}"
