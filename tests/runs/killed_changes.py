"""Kills promotions and rollbacks before every single file operation; prints how many there were.

A script of its own, because it forks, and a process with TensorFlow in it should not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tfdml.runs import versions

_MOST = 1000


def killed_at(number: int, change: Callable[[], object], directory: Path) -> bool:
    """Whether a child that makes `change` was killed before its file operation `number`; else it was through."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple) -> None:
            nonlocal count
            if any(
                str(directory) in os.fsdecode(a)
                for a in arguments
                if isinstance(a, str | bytes | Path)
            ):
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        change()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def check(model_dir: Path, allowed: set[int]) -> None:
    link = model_dir / "versions" / "current"
    assert (link / "saved_model.pb").is_file(), "the link leads nowhere"
    assert versions.current(model_dir) in allowed
    assert int(os.readlink(link)) in versions.known(model_dir)
    changes = versions.history(model_dir)
    assert changes[-1].version == versions.current(model_dir), changes


def main() -> None:
    model_dir = Path(sys.argv[1])
    kills = 0
    for number in range(1, _MOST):
        before = versions.current(model_dir)
        assert before == 2
        killed = killed_at(number, lambda: versions.promote(model_dir, 3), model_dir)
        kills += killed
        check(model_dir, {2, 3})
        if versions.current(model_dir) == 3:
            # The way back is to 2, whenever it was killed, and from there to 1.
            assert versions.rollback(model_dir) == (2, 3)
        if not killed:
            break
    for number in range(1, _MOST):
        killed = killed_at(number, lambda: versions.rollback(model_dir), model_dir)
        kills += killed
        check(model_dir, {1, 2})
        if versions.current(model_dir) == 1:
            versions.promote(model_dir, 2)
        if not killed:
            break
    assert versions.rollback(model_dir) == (1, 2)
    print(kills)


if __name__ == "__main__":
    main()
