"""What a run was: settings, versions, revision, seed and command line, kept beside its model."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tfdml.config import yaml_text
from tfdml.config.schema import Config
from tfdml.shared_files import appears_when_whole
from tfdml.version import __version__

_PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "pydantic", "scikit-learn")


def write_provenance(model_dir: Path, config: Config, *, seed: int) -> None:
    """Write `config.yaml` (which `--config` takes again) and `provenance.json`; chief only."""
    record = {
        "command": shlex.join(sys.argv),
        "seed": seed,
        "git": git_revision(Path(sys.argv[0]).resolve().parent),
        "python": platform.python_version(),
        "packages": {"tfdml": __version__, **_versions()},
    }
    with appears_when_whole(model_dir / "config.yaml") as file:
        file.write_text(yaml_text.dump(config.model_dump()), encoding="utf-8")
    with appears_when_whole(model_dir / "provenance.json") as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


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


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
