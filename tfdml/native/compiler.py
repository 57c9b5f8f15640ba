"""Find the C++ compiler and run it, several files at once; nothing of it outlives the call."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tfdml.errors import NativeOpsError

CANDIDATES = ("c++", "g++", "clang++")
LAST_LINES = 10

_SECONDS_BETWEEN_LOOKS = 0.02


@dataclass(frozen=True)
class Compiler:
    """`command` is one word, or several where $CXX has several, as in "ccache g++"."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Step:
    """One call of the compiler. `name` is what a message calls it."""

    name: str
    command: Sequence[str]


def find_compiler() -> Compiler:
    """$CXX, or else the first of `CANDIDATES` that is on PATH.

    Raises:
        NativeOpsError: there is none, or $CXX names none.
    """
    asked = os.environ.get("CXX", "").strip()
    if not asked:
        found = next((path for name in CANDIDATES if (path := shutil.which(name))), None)
        if found is None:
            raise NativeOpsError(
                f"No C++ compiler was found: none of {', '.join(CANDIDATES)} is on PATH. "
                "Install one, for example g++, or set CXX to one."
            )
        return Compiler((found,), _version((found,)))
    try:
        program, *words = shlex.split(asked)
    except ValueError:
        program, words = asked, []
    path = shutil.which(program)
    if path is None:
        raise NativeOpsError(
            f"CXX={asked!r} names no C++ compiler: {program!r} is no program on PATH. "
            f"Correct CXX, or unset it: then one of {', '.join(CANDIDATES)} is used."
        )
    command = (os.path.abspath(path), *words)
    return Compiler(command, _version(command))


def run_steps(
    steps: Sequence[Step], *, jobs: int, directory: Path, on_done: Callable[[], None]
) -> None:
    """Run `steps` in their order, `jobs` at a time; call `on_done` after each.

    What they print goes into `directory`, and so do the temporary files of the compiler.

    Raises:
        NativeOpsError: a step failed; with its last lines. The others have been ended.
    """
    waiting = list(reversed(list(enumerate(steps))))
    running: dict[subprocess.Popen[bytes], tuple[Step, Path]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, step = waiting.pop()
                output = directory / f"{number}.output"
                running[_start(step, directory, output)] = step, output
            ended = [process for process in running if process.poll() is not None]
            for process in ended:
                step, output = running.pop(process)
                if process.returncode:
                    raise _failure(step, process.returncode, output)
                on_done()
            if not ended:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:  # Also after Ctrl-C, which need not have reached the compilers.
        for process in running:
            _end(process)


def _start(step: Step, directory: Path, output: Path) -> subprocess.Popen[bytes]:
    # In the process group of this process: whoever ends the group ends the compilers with it.
    with output.open("wb") as file:
        try:
            return subprocess.Popen(
                step.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, "TMPDIR": str(directory)},
            )
        except OSError as error:
            raise NativeOpsError(
                f"The C++ compiler {step.command[0]} cannot be run: {error.strerror}."
            ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a compiler and the programs that it has started: the compiler proper, the assembler."""
    process.send_signal(signal.SIGSTOP)  # So that it starts no other meanwhile.
    family = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def _failure(step: Step, status: int, output: Path) -> NativeOpsError:
    how = f"with exit status {status}" if status > 0 else f"by {signal.Signals(-status).name}"
    head = f"The C++ compiler {step.command[0]} ended {how} at {step.name}"
    lines = output.read_text(errors="replace").rstrip().splitlines()[-LAST_LINES:]
    if not lines:
        return NativeOpsError(f"{head} and printed nothing.")
    return NativeOpsError("\n  ".join([f"{head}; its last lines:", *lines]))


def _version(command: Sequence[str]) -> str:
    """What distinguishes this compiler from another under the same name: all that it says of itself."""
    try:
        done = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise NativeOpsError(
            f"The C++ compiler {command[0]} cannot be run: {error.strerror}."
        ) from error
    return done.stdout.decode(errors="replace").strip()
