"""Every configuration file of every recipe loads, and default.yaml is the schema's defaults, every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.recipes.conftest import load_script
from tfdml.config import load
from tfdml.config.describe import settings
from tfdml.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SCHEMAS = {
    "image_classifier": "ImageClassifierConfig",
    "language_model": "LanguageModelConfig",
    "recommender": "RecommenderConfig",
    "tabular": "TabularConfig",
}
OVERLAYS = {
    "image_classifier": {"mirrored", "multi_worker", "tpu"},
    "language_model": {"mirrored", "multi_worker", "tpu"},
    "recommender": {"mirrored", "multi_worker", "parameter_server"},
    "tabular": {"mirrored", "multi_worker", "tpu"},
}
# Settings for other data, or for other tokens of it, with any strategy.
PRESETS = {
    "image_classifier": {"resnet18_digits"},
    "language_model": {"bytes"},
    "tabular": {"predictive_maintenance"},
}
FILES = sorted(CONFIGS.glob("*/*.yaml"))
name_of = lambda path: f"{path.parent.name}-{path.stem}"


def schema_of(recipe: str) -> Any:
    return getattr(load_script(f"train_{recipe}"), SCHEMAS[recipe])


def leaves(values: dict, prefix: str = "") -> dict:
    result = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result |= leaves(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def test_every_recipe_is_here():
    assert {path.name for path in CONFIGS.iterdir()} >= set(SCHEMAS)
    scripts = (CONFIGS.parent / "recipes").glob("train_*.py")
    assert {script.stem.removeprefix("train_") for script in scripts} >= set(SCHEMAS)


@pytest.mark.parametrize("recipe", SCHEMAS)
def test_default_is_complete_and_agrees_with_the_schema(recipe):
    schema = schema_of(recipe)
    file = CONFIGS / recipe / "default.yaml"
    assert load(schema, [file]) == schema()
    written = yaml.safe_load(file.read_text())
    assert list(leaves(written)) == [path for path, _ in settings(schema)]


@pytest.mark.parametrize("recipe", SCHEMAS)
def test_there_is_an_overlay_for_each_strategy(recipe):
    there = {path.stem for path in (CONFIGS / recipe).glob("*.yaml")}
    assert there == OVERLAYS[recipe] | PRESETS.get(recipe, set()) | {"default"}


OVERLAY_FILES = [path for path in FILES if path.parent.name in SCHEMAS and path.stem != "default"]


@pytest.mark.parametrize("overlay", OVERLAY_FILES, ids=name_of)
def test_overlays_hold_only_what_differs(overlay):
    schema = schema_of(overlay.parent.name)
    config = load(schema, [overlay.with_name("default.yaml"), overlay])
    if overlay.stem not in PRESETS.get(overlay.parent.name, ()):
        assert config.strategy.name == overlay.stem
    defaults = leaves(schema().model_dump())
    for path, value in leaves(yaml.safe_load(overlay.read_text())).items():
        assert value != defaults[path], f"{path} is the default"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_the_header_says_how_to_launch_it_and_what_to_expect(file):
    recipe = file.parent.name
    header = file.read_text().split("\n\n")[0]
    assert f"--config=configs/{recipe}/{file.name}" in header
    assert f"recipes/train_{recipe}.py" in header
    assert "# Expected: " in header


def test_unknown_model_lists_the_known(image_classifier):
    with pytest.raises(ConfigError) as caught:
        load(image_classifier.ImageClassifierConfig, (), ["model.name=resnet19"])
    assert str(caught.value) == (
        "--set model.name=resnet19: `model.name` must be small_cnn, resnet18, resnet34, resnet50, vit or "
        "efficientnet, got 'resnet19'. Did you mean resnet18?"
    )


def test_the_schema_names_the_models_that_exist(image_classifier, image_models):
    field = image_classifier.ModelConfig.model_fields["name"]
    assert set(field.annotation.__args__) == set(image_models.FEATURES)


def test_the_schema_names_the_recommenders_that_exist():
    models = load_script("recommender_models")
    field = load_script("train_recommender").ModelConfig.model_fields["name"]
    known = models.RATING_MODELS | models.RETRIEVAL_MODELS
    assert set(field.annotation.__args__) == set(known)


def test_the_schema_names_the_tabular_networks_that_exist():
    field = load_script("train_tabular").ModelConfig.model_fields["name"]
    assert set(field.annotation.__args__) == set(load_script("tabular_models").NETWORKS)
