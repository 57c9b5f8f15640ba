"""Versions against the bounds of tfdml's own metadata, in environments that are not as they should be."""

from __future__ import annotations

import configparser
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only
from tfdml.doctor.checks import versions
from tfdml.doctor.checks.versions import Requirement


def distribution(directory: Path, name: str, version: str) -> None:
    """What pip leaves of a package that has been installed."""
    info = directory / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_here_all_is_as_it_should_be():
    finding = only(versions.check(subjects.make()), "ok")
    assert f"tensorflow {metadata.version('tensorflow')} with keras " in finding.text


def test_another_version(tmp_path, monkeypatch):
    distribution(tmp_path, "tensorflow", "2.20.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    levels = by_level(versions.check(subjects.make()))
    assert levels == {
        "error": [
            "tensorflow 2.20.1 is installed, and tfdml needs tensorflow >= 2.21, < 2.22 "
            "(with another version it was not tested)"
        ]
    }


def test_a_package_that_is_missing(monkeypatch):
    real = versions.installed_version
    missing = {"keras", "rich"}
    monkeypatch.setattr(
        versions, "installed_version", lambda name: None if name in missing else real(name)
    )
    findings = list(versions.check(subjects.make()))
    assert [finding.level for finding in findings] == ["error", "error"]
    assert findings[0].text == "keras is not installed, and tfdml needs keras >= 3.15, < 3.16"


def test_other_names_of_tensorflow(tmp_path, monkeypatch):
    def absent(name: str) -> str:
        if name == "tf-nightly":
            return "2.22.0.dev20261101"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert versions.installed_version("tensorflow") == "2.22.0.dev20261101"
    assert versions.installed_version("keras") is None


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    finding = only(versions.check(subjects.make()), "error")
    assert finding.text.startswith("this is Python 3.10.4, and tfdml ") and ">=3.11" in finding.text


def test_a_copy_that_was_never_installed_reads_setup_cfg(monkeypatch):
    installed = versions.bounds()

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    python, requirements = versions.bounds()
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[2] / "setup.cfg")
    assert python == parser["options"]["python_requires"]
    names = {requirement.name for requirement in requirements}
    assert {"tensorflow", "keras"} < names
    assert "pytest" not in names and "pytest" not in {each.name for each in installed[1]}


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("2.21", True),
        ("2.21.0", True),
        ("2.21.3", True),
        ("2.21.0rc1", False),
        ("2.22.0rc0", True),  # Not what PEP 440 says; TensorFlow is not released so.
        ("2.22", False),
        ("2.20.9", False),
        ("2.3", False),
        ("3.0", False),
    ],
)
def test_bounds(version, fits):
    assert Requirement.parse("tensorflow<2.22,>=2.21").admits(version) is fits


def test_what_cannot_be_read_is_an_error_and_not_a_guess():
    with pytest.raises(ValueError, match=r"tensorflow~=2\.21"):
        Requirement.parse("tensorflow~=2.21")
    assert str(Requirement.parse("psutil")) == "psutil"
