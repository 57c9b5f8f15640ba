"""Where no Slurm can be started, the tests here are skipped with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.slurm import cluster


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which all programs are, and nothing else is searched."""
    for name in cluster.PROGRAMS:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr(cluster, "PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def test_programs_that_are_missing_are_named(programs: Path) -> None:
    assert cluster.why_not() == ""
    (programs / "munged").unlink()
    (programs / "srun").unlink()
    assert cluster.why_not() == (
        "Slurm is not installed (munged, srun): apt-get install slurm-wlm munge"
    )


def test_root_is_needed(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cluster.why_not() == "Slurm's daemons have to be started by root"
