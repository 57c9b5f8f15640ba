"""A small process that ends a launcher's tasks when the launcher itself is killed.

A launcher that gets SIGKILL can clean nothing up. The guard reads a pipe whose write end the
launcher holds: "+N" registers process group N, "-N" forgets it, and at the end of the file, which
the kernel delivers however the launcher died, the guard kills every group that is still registered.
Each task registers itself before it runs any code of its own, and holds the pipe open until then,
so that no moment is left in which a task runs unguarded. Groups take processes with them that tasks
have started, which the parent-death signal of Linux would not.

"~P" names a temporary directory of the launcher, its path in hexadecimal: it is removed then, too. A
launcher that ends by itself removes its directories itself, and a "~" alone says so.

Run as a script, this file is the guard; imported, it is the launcher's handle on one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys


def registration(pid: int) -> bytes:
    """What to write into the guard's pipe; short enough for the kernel to write it in one piece."""
    return b"+%d\n" % pid


def _directory(path: str) -> bytes:
    return b"~%s\n" % os.fsencode(path).hex().encode()


class Guard:
    """Starts the guard. Close it when all tasks have ended."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # Isolated and without site packages: it starts in 20 ms and nothing can shadow its
            # imports.
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # What is sent to the launcher's group must not reach it.
        )
        assert self._process.stdin is not None
        self.fd = self._process.stdin.fileno()

    def forget(self, pid: int) -> None:
        """The group has ended; its number may be given to somebody else from now on."""
        os.write(self.fd, b"-%d\n" % pid)

    def adopt(self, directory: str) -> None:
        """Remove `directory` if the launcher is killed; it need not exist yet."""
        os.write(self.fd, _directory(directory))

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self.fd, _directory(""))
        self._process.stdin.close()
        self._process.wait()


def _watch() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    groups: set[int] = set()
    directories: set[bytes] = set()
    for line in sys.stdin.buffer:
        if line.startswith(b"~"):
            path = bytes.fromhex(line[1:].decode())
            directories = {*directories, path} if path else set()
            continue
        group = int(line)
        if group > 0:
            groups.add(group)
        else:
            groups.discard(-group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _watch()
