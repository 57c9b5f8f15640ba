"""`tfdml recipes` lists what there is, copies all that a recipe needs, and overwrites nothing."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import REPOSITORY
from tfdml.cli import recipes
from tfdml.errors import ConfigError


def test_list_names_every_recipe_with_its_first_line(capsys):
    recipes.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    listed = {name: summary.strip() for name, _, summary in (line.partition(" ") for line in lines)}
    assert listed["image_classifier"].startswith("Train an image classifier")
    assert listed["recommender"].startswith("Train a recommender")


@pytest.mark.parametrize("name", recipes.recipes())
def test_copy_brings_every_module_and_configuration(name, tmp_path, capsys):
    recipes.main(["copy", name, str(tmp_path / "mine")])
    copied = {str(p.relative_to(tmp_path / "mine")) for p in (tmp_path / "mine").rglob("*.*")}
    stem = {"image_classifier": "image", "language_model": "language"}.get(name, name)
    expected = {f"recipes/{path.name}" for path in (REPOSITORY / "recipes").glob(f"{stem}_*.py")}
    expected |= {
        f"configs/{name}/{path.name}" for path in (REPOSITORY / "configs" / name).iterdir()
    }
    assert len(expected) > 3
    assert copied == {f"recipes/train_{name}.py", *expected}
    assert f"recipes/train_{name}.py --help" in capsys.readouterr().out


def test_modules_of_modules_are_copied(tmp_path, monkeypatch):
    source = tmp_path / "bundled"
    (source / "recipes").mkdir(parents=True)
    for file, text in (
        ("train_toy.py", '"""A toy."""\ndef main():\n    from toy_one import a'),
        ("toy_one.py", "import toy_two, os, numpy.linalg"),
        ("toy_two.py", "from toy_one import b"),
        ("toy_other.py", ""),
    ):
        (source / "recipes" / file).write_text(text)
    monkeypatch.setattr(recipes, "BUNDLED", source)
    recipes.main(["copy", "toy", str(tmp_path / "mine")])
    copied = {path.name for path in (tmp_path / "mine" / "recipes").iterdir()}
    assert copied == {"train_toy.py", "toy_one.py", "toy_two.py"}


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
