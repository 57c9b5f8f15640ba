"""Every configuration file loads, and default.yaml is the schema's defaults, every one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tfdml.config import load
from tfdml.config.describe import settings
from tfdml.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs" / "image_classifier"
OVERLAYS = sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "default.yaml"})


def leaves(values: dict, prefix: str = "") -> dict:
    result = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result |= leaves(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def test_default_is_complete_and_agrees_with_the_schema(image_classifier):
    schema = image_classifier.ImageClassifierConfig
    config = load(schema, [CONFIGS / "default.yaml"])
    assert config == schema()
    written = yaml.safe_load((CONFIGS / "default.yaml").read_text())
    assert list(leaves(written)) == [path for path, _ in settings(schema)]


def test_there_is_an_overlay_for_each_strategy():
    assert {path.stem for path in OVERLAYS} == {"mirrored", "multi_worker", "tpu"}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays_hold_only_what_differs(image_classifier, overlay):
    schema = image_classifier.ImageClassifierConfig
    config = load(schema, [CONFIGS / "default.yaml", overlay])
    assert config.strategy.name == overlay.stem
    defaults = leaves(schema().model_dump())
    for path, value in leaves(yaml.safe_load(overlay.read_text())).items():
        assert value != defaults[path], f"{path} is the default"


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_header_says_how_to_launch_it_and_what_to_expect(file):
    header = file.read_text().split("\n\n")[0]
    assert f"--config=configs/image_classifier/{file.name}" in header
    assert "recipes/train_image_classifier.py" in header
    assert "# Expected: " in header


def test_unknown_model_lists_the_known(image_classifier):
    with pytest.raises(ConfigError) as caught:
        load(image_classifier.ImageClassifierConfig, (), ["model.name=resnet19"])
    assert str(caught.value) == (
        "--set model.name=resnet19: `model.name` must be small_cnn or resnet18, got 'resnet19'. "
        "Did you mean resnet18?"
    )


def test_the_schema_names_the_models_that_exist(image_classifier, image_models):
    field = image_classifier.ModelConfig.model_fields["name"]
    assert set(field.annotation.__args__) == set(image_models.MODELS)
