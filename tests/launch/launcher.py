"""Run `tfdml launch` as users do: a process of its own, with a script that is a file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SECONDS = 60.0
MARK = "TFDML_TEST_LAUNCH"


@dataclass
class Launcher:
    """Starts the launcher on scripts in `directory`, and finds every process that came of it."""

    directory: Path
    variables: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def script(self, text: str, name: str = "script.py") -> str:
        path = self.directory / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def begin(
        self, *arguments: str, within: Sequence[str] = (), **options: object
    ) -> subprocess.Popen[str]:
        """Start a launcher; `within` is a command that it runs under."""
        return subprocess.Popen(
            [*within, sys.executable, "-m", "tfdml", "launch", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.variables, MARK: self.mark},
            **options,  # type: ignore[call-overload]
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run to the end, within the time limit; the end must leave no process."""
        with self.begin(*arguments) as process:
            result = self.finish(process)
        self.expect_nothing_left()
        return result

    def finish(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_all()
            out, err = process.communicate()
            raise AssertionError(f"no end after {SECONDS} s:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def expect_nothing_left(self) -> None:
        """Soon, that is: multiprocessing's resource tracker ends a moment after the launcher."""
        assert eventually(lambda: not self.left(), seconds=10), f"left: {self.left()}"

    def left(self) -> list[str]:
        """The command lines of all processes that descend from a launcher of this object."""
        lines = []
        for process in self._marked():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                lines.append(" ".join(process.cmdline()))
        return lines

    def kill_all(self) -> None:
        for process in self._marked():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def wait_for(self, path: Path) -> None:
        """Until a script has made the file `path`."""
        assert eventually(path.exists), f"{path} did not appear; running: {self.left()}"

    def _marked(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.environ().get(MARK) == self.mark:
                    yield process


def eventually(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether `condition` came true within the time limit."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def lines_of(output: str, task: str) -> list[str]:
    """What `task` printed, in order."""
    prefix = f"[{task}] "
    return [line[len(prefix) :] for line in output.splitlines() if line.startswith(prefix)]
