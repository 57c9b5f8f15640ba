"""The directory of an exported model: new or empty, and there when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdml.errors import ConfigError


def check_empty(directory: Path) -> None:
    """
    Raises:
        ConfigError: `directory` is a file, or a directory that is not empty.
    """
    if directory.is_dir():
        found = sorted(path.name for path in directory.iterdir())
        if found:
            raise ConfigError(
                f"--export_dir={directory} is not empty, it holds {found[0]}. Give a new directory, so that no "
                "file of another model remains among those of this one."
            )
    elif directory.exists() or directory.is_symlink():
        raise ConfigError(f"--export_dir={directory} is a file. Give a new directory.")


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """Yield a new directory beside `directory`, which takes its name when the block ends well.

    Raises:
        ConfigError: `directory` is not empty, or cannot be made.
    """
    check_empty(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # TensorFlow Serving takes no notice of names that are no numbers.
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise ConfigError(
            f"--export_dir={directory} cannot be made: {error.strerror or error}. Give another one."
        ) from None
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        _sync(partial)
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sync(directory: Path) -> None:
    """Bring all files to the disk: the name must not be there before they are."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
