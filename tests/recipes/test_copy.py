"""`tfdml recipes` lists what there is, copies all that a recipe needs, and overwrites nothing."""

from __future__ import annotations

import pytest

from tfdml.cli import recipes
from tfdml.errors import ConfigError


def test_list_names_every_recipe_with_its_first_line(capsys):
    recipes.main(["list"])
    name, _, summary = capsys.readouterr().out.splitlines()[0].partition(" ")
    assert name == "image_classifier"
    assert summary.strip().startswith("Train an image classifier")


def test_copy_brings_modules_and_configurations(tmp_path, capsys):
    recipes.main(["copy", "image_classifier", str(tmp_path / "mine")])
    copied = {str(p.relative_to(tmp_path / "mine")) for p in (tmp_path / "mine").rglob("*.*")}
    assert copied == {
        "recipes/train_image_classifier.py",
        "recipes/image_models.py",
        "configs/image_classifier/default.yaml",
        "configs/image_classifier/mirrored.yaml",
        "configs/image_classifier/multi_worker.yaml",
        "configs/image_classifier/tpu.yaml",
    }
    assert "recipes/train_image_classifier.py --help" in capsys.readouterr().out


def test_copy_overwrites_nothing(tmp_path):
    mine = tmp_path / "configs" / "image_classifier" / "tpu.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"tpu.yaml is there already, so nothing was copied"):
        recipes.main(["copy", "image_classifier", str(tmp_path)])
    assert mine.read_text() == "mine"
    assert not (tmp_path / "recipes").exists()


def test_unknown_recipe_lists_the_known(tmp_path):
    with pytest.raises(ConfigError, match=r"there are image_classifier. Did you mean image_class"):
        recipes.main(["copy", "image_clasifier", str(tmp_path)])
