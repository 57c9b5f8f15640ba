"""Recipes are scripts, no package: tests load them by path, and run them as a user does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

# As Python does for a script: modules beside a recipe are imported by their names.
sys.path.append(str(REPOSITORY / "recipes"))


def load_script(name: str):
    """The module of recipes/NAME.py, under a name that collides with nothing."""
    path = REPOSITORY / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"recipes_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks up annotations there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    """Shards are made by the first run, and read by all others."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def image_classifier():
    return load_script("train_image_classifier")


@pytest.fixture(scope="session")
def image_models():
    return load_script("image_models")
