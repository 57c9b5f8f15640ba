"""Exported versions of a model, MODEL_DIR/versions/1, 2, ..., and which of them is the current one.

`versions/current` is a symbolic link that is replaced by renaming another one over it, so whoever follows it finds a
whole version at any moment, whatever is killed when. What was current before is in `versions/history.json`, a list to
which every change is added before it is made. Of its entries only the last can be one that was not made after all: it
does not agree with the link, and is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tfdml.errors import ConfigError, DataError
from tfdml.runs.record import now
from tfdml.shared_files import appears_when_whole, one_process_at_a_time

FOLDER = "versions"
CURRENT = "current"
HISTORY = "history.json"
_MARK = "saved_model.pb"  # every version has it


@dataclass(frozen=True)
class Change:
    """One promotion or rollback: to which version, and when (UTC, ISO 8601)."""

    action: Literal["promote", "rollback"]
    version: int
    time: str


def next_directory(model_dir: Path) -> Path:
    """Where the next version goes: after the largest number that is there."""
    return model_dir / FOLDER / str(max(_numbers(model_dir), default=0) + 1)


def known(model_dir: Path) -> list[int]:
    """The whole versions, ascending."""
    folder = model_dir / FOLDER
    return sorted(n for n in _numbers(model_dir) if (folder / str(n) / _MARK).is_file())


def current(model_dir: Path) -> int | None:
    """The current version; None where none was ever promoted.

    Raises:
        DataError: the link does not lead to a version.
    """
    link = model_dir / FOLDER / CURRENT
    try:
        target = os.readlink(link)
    except FileNotFoundError:
        return None
    except OSError:
        raise DataError(f"{link} is no symbolic link; remove it, and promote a version.") from None
    if not target.isdecimal():
        raise DataError(f"{link} leads to {target}, which is no version; promote one.")
    return int(target)


def promote(model_dir: Path, version: int) -> int | None:
    """Make `version` the current one; returns the one before.

    Raises:
        ConfigError: there is no such version, or it is the current one.
    """
    with _locked(model_dir):
        _check(model_dir, version)
        before = current(model_dir)
        if before == version:
            raise ConfigError(f"version {version} of {model_dir} is the current one already.")
        _change(model_dir, "promote", version)
    return before


def rollback(model_dir: Path) -> tuple[int, int]:
    """Make the version current that was so before the last promotion; returns it, and the one it was.

    Raises:
        ConfigError: nothing was promoted before, or the version that was is no longer there.
    """
    with _locked(model_dir):
        stack = _stack(history(model_dir))
        if len(stack) < 2:
            now_is = f"only version {stack[0]} was ever" if stack else "no version was"
            raise ConfigError(
                f"{model_dir}: {now_is} promoted, so there is none to go back to. "
                f"Promote one: tfdml runs promote {model_dir} VERSION."
            )
        *_, before, last = stack
        _check(model_dir, before)
        _change(model_dir, "rollback", before)
    return before, last


def history(model_dir: Path) -> list[Change]:
    """What was changed, oldest first.

    Raises:
        DataError: the file is damaged.
    """
    file = model_dir / FOLDER / HISTORY
    try:
        changes = [Change(**entry) for entry in json.loads(file.read_text("utf-8"))]
    except FileNotFoundError:
        changes = []
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{file}: cannot be read ({error}). Remove it: `promote` begins a new one."
        ) from None
    if changes and changes[-1].version != current(model_dir):
        del changes[-1]  # it was killed before it was made
    return changes


def _change(model_dir: Path, action: Literal["promote", "rollback"], version: int) -> None:
    folder = model_dir / FOLDER
    entries = [asdict(change) for change in (*history(model_dir), Change(action, version, now()))]
    with appears_when_whole(folder / HISTORY) as file:
        file.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")
    _sync(folder)  # the entry is on the disk before the link
    temporary = folder / f".{CURRENT}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(str(version))
    temporary.replace(folder / CURRENT)
    _sync(folder)


def _stack(changes: list[Change]) -> list[int]:
    """Versions that were promoted and not taken back."""
    stack: list[int] = []
    for change in changes:
        if change.action == "promote":
            stack.append(change.version)
        else:
            del stack[-1:]
    return stack


def _check(model_dir: Path, version: int) -> None:
    there = known(model_dir)
    if version not in there:
        what = f"it has {', '.join(map(str, there))}" if there else "it has none: --mode=export"
        raise ConfigError(f"{model_dir} has no version {version}; {what}.")


def _numbers(model_dir: Path) -> list[int]:
    folder = model_dir / FOLDER
    return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]


@contextmanager
def _locked(model_dir: Path) -> Iterator[None]:
    if not (model_dir / FOLDER).is_dir():
        raise ConfigError(f"{model_dir} has no exported versions. Make one with --mode=export.")
    with one_process_at_a_time(model_dir / FOLDER / ".lock"):
        yield


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
