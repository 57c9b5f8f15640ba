"""What a run was made with: code, packages, and the machine."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from tfdml import run_identity
from tfdml.version import __version__

_PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "pydantic",
    "tensorflow-datasets",
    "scikit-learn",
    "tokenizers",
    "pyarrow",
)


def code() -> dict[str, Any]:
    """The script, its SHA-256, and the git revision it is at; null outside git."""
    script = run_identity.script()
    directory = (script or Path(sys.argv[0])).resolve().parent
    return {
        "script": str(script) if script else None,
        "script_sha256": hashlib.sha256(script.read_bytes()).hexdigest() if script else None,
        "git": git_revision(directory),
    }


def packages() -> dict[str, str]:
    """Versions of Python, tfdml and the packages that decide what is computed."""
    versions = {"python": platform.python_version(), "tfdml": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware(devices: list[str]) -> dict[str, Any]:
    """Of this host; `devices` are those that a replica may be on, as TensorFlow describes them."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "devices": devices,
    }


def this_process() -> dict[str, Any]:
    """Enough to find out later, on the same host, whether it still runs."""
    process = psutil.Process()
    return {"host": platform.node(), "pid": process.pid, "created": process.create_time()}


def is_alive(process: dict[str, Any]) -> bool | None:
    """Whether what `this_process` described runs; None on another host."""
    if process["host"] != platform.node():
        return None
    try:
        return abs(psutil.Process(process["pid"]).create_time() - process["created"]) < 1.0
    except psutil.NoSuchProcess:
        return False


def git_revision(directory: Path) -> dict[str, Any] | None:
    """The commit that `directory` is at, and whether files differ from it; None outside git."""
    revision = _git(directory, "rev-parse", "HEAD")
    if not revision:
        return None
    return {
        "revision": revision,
        "modified": bool(_git(directory, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
