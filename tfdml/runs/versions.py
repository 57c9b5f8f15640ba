"""Exported versions of a model: MODEL_DIR/versions/1, 2, ..., and which of them is the current one."""

from __future__ import annotations

from pathlib import Path

FOLDER = "versions"


def next_directory(model_dir: Path) -> Path:
    """Where the next version goes; numbers are never used again while a later one is there."""
    folder = model_dir / FOLDER
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return folder / str(max(numbers, default=0) + 1)
