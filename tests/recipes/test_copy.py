"""`tfdml recipes` lists what there is, copies all that a recipe needs, and overwrites nothing."""

from __future__ import annotations

import pytest

from tfdml.cli import recipes
from tfdml.errors import ConfigError


def test_list_names_every_recipe_with_its_first_line(capsys):
    recipes.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    listed = {name: summary.strip() for name, _, summary in (line.partition(" ") for line in lines)}
    assert listed["image_classifier"].startswith("Train an image classifier")
    assert listed["recommender"].startswith("Train a recommender")


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


def test_a_recipe_with_several_modules_is_copied_with_all_of_them(tmp_path):
    recipes.main(["copy", "recommender", str(tmp_path)])
    assert {path.name for path in (tmp_path / "recipes").iterdir()} == {
        "train_recommender.py",
        "recommender_models.py",
        "recommender_metrics.py",
    }
    assert (tmp_path / "configs" / "recommender" / "parameter_server.yaml").exists()


def test_copy_overwrites_nothing(tmp_path):
    mine = tmp_path / "configs" / "image_classifier" / "tpu.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"tpu.yaml is there already, so nothing was copied"):
        recipes.main(["copy", "image_classifier", str(tmp_path)])
    assert mine.read_text() == "mine"
    assert not (tmp_path / "recipes").exists()


def test_unknown_recipe_lists_the_known(tmp_path):
    with pytest.raises(
        ConfigError, match=r"there are image_classifier.*\. Did you mean image_class"
    ):
        recipes.main(["copy", "image_clasifier", str(tmp_path)])
