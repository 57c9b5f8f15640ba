"""What this process runs, for tasks to compare: a digest of its script, and of its configuration if it has one."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_config_digest = ""


def set_config(text: str) -> None:
    """Remember the whole configuration that this process was started with."""
    global _config_digest
    _config_digest = digest(text.encode())


def config_digest() -> str:
    """Of what `set_config` was told last, or ""."""
    return _config_digest


def script() -> Path | None:
    """The file that runs as `__main__`; None in an interactive session."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def script_digest() -> str:
    path = script()
    return digest(path.read_bytes()) if path else ""


def digest(content: bytes) -> str:
    """Twelve characters are enough to tell versions of a file apart, and to be read by a person."""
    return hashlib.sha256(content).hexdigest()[:12]
