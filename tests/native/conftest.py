from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.small_ops import write_sources
from tfdml.native import build, loader


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small sources in place of the package's, a cache of the test's own, nothing loaded yet."""
    directory = write_sources(tmp_path / "the sources")
    monkeypatch.setattr(build, "SOURCE_DIR", directory)
    monkeypatch.setattr(loader, "_state", loader._State())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDML_NATIVE", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    return directory


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tfdml"
