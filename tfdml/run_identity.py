"""What this process runs, for tasks and restarts to compare: its script, and its configuration if it has one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_settings: dict[str, Any] = {}


def set_config(values: Mapping[str, Any]) -> None:
    """Remember the whole configuration that this process was started with: sections of what JSON can say."""
    _settings.clear()
    _settings.update(flat(values))


def settings() -> dict[str, Any]:
    """What `set_config` was told last, by path (train.epochs); empty where nobody did."""
    return dict(_settings)


def config_digest() -> str:
    """Of `settings()`, or "" where there are none."""
    return digest(json.dumps(_settings, sort_keys=True).encode()) if _settings else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one mapping, by path (train.epochs)."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


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
