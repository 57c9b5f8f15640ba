"""The wheel alone is enough: built, installed elsewhere, its recipe copied and trained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# What a build reads. It is copied, because setuptools leaves a build/ behind, and reads from it.
SOURCES = ("tfdml", "recipes", "configs", "data_tools", "setup.cfg", "pyproject.toml")
SOURCES += ("README.md", "LICENSE")


def run(*command: object, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the source distribution of a checkout whose path has a space in it."""
    checkout = tmp_path_factory.mktemp("check out")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, checkout / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(REPOSITORY / name, checkout / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", cwd=checkout)
    (path,) = (checkout / "dist").glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_tfdml_alone_with_everything_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfdml"}
    for directory in ("recipes", "configs", "data_tools"):
        here = {
            f"tfdml/bundled/{path.relative_to(REPOSITORY)}"
            for path in (REPOSITORY / directory).rglob("*")
            if path.suffix in (".py", ".yaml")
        }
        assert here
        assert here <= names
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tfdml").rglob("*.py")}
    assert modules <= names
    native = REPOSITORY / "tfdml" / "native"
    sources = {
        str(p.relative_to(REPOSITORY)) for p in native.rglob("*") if p.suffix in (".cc", ".h")
    }
    assert sources
    assert sources <= names


@pytest.mark.slow
def test_installed_elsewhere_a_copied_recipe_trains(wheel, tmp_path):
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies of this environment, without installing their gigabytes once more. Its own
    # tfdml stays out: a .pth file inside a directory that a .pth file adds is not read.
    (site_packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    place = tmp_path / "some where"
    place.mkdir()
    found = run(python, "-c", "import tfdml; print(tfdml.__file__)", cwd=place)
    assert Path(found.strip()).is_relative_to(site_packages)
    tfdml = tmp_path / "venv" / "bin" / "tfdml"
    run(tfdml, "recipes", "copy", "image_classifier", cwd=place)
    output = run(
        tfdml,
        "launch",
        "recipes/train_image_classifier.py",
        "--config=configs/image_classifier/default.yaml",
        "--set=train.epochs=1",
        "--model_dir=model",
        cwd=place,
        TF_CPP_MIN_LOG_LEVEL="3",
    )
    assert "test accuracy: 0." in output
    assert (place / "model" / "model.keras").exists()
    run(python, "-m", "tfdml.bundled.data_tools.convert", "--help", cwd=place)
