"""What all recipes share, of every recipe: flags, the record, predictions, exported models, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.recipes import short
from tests.recipes.starting import ONE_PROCESS, TWO_WORKERS, run
from tfdml.runs.record import RunRecord

# Settings that make another model of each, and what is then said of the layer.
OTHER_MODEL = {
    "image_classifier": ({"model.name": "resnet18"}, "Conv2D, weights [3, 3, 1, 32], [32]"),
    "language_model": ({"model.width": 32}, "weights ["),
    "recommender": ({"model.factors": 5}, "'user_table' (ShardedEmbedding, weights [500, 4])"),
    "tabular": ({"model.hidden": [7]}, "weights ["),
}


def start(recipe: str, directory: Path, *words: str, launcher=ONE_PROCESS, **changes):
    settings = short.words(recipe, *words, **changes)
    return run(launcher, directory, *settings, script=short.script(recipe))


def started(recipe: str, directory: Path, *words: str, **options) -> str:
    done = start(recipe, directory, *words, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def flags_in_help(recipe: str) -> str:
    done = subprocess.run(
        [sys.executable, short.script(recipe), "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    flags, _, rest = done.stdout.partition("Flags:")[2].partition("Settings (for")
    assert "train.seed=0" in rest
    return flags.replace(f"runs/{recipe}", "runs/RECIPE")


def test_all_recipes_have_the_same_flags():
    helps = [flags_in_help(recipe) for recipe in short.RECIPES]
    assert len(set(helps)) == 1
    for flag in ("--mode=", "--seed=", "--export_dir=", "--predict_input=", "--predict_output="):
        assert flag in helps[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", short.RECIPES)
def test_a_run_leaves_its_record_and_is_exported_and_another_model_is_refused(recipe, tmp_path):
    short.prepare(tmp_path)
    started(recipe, tmp_path, "--model_dir=m", "--seed=5")
    record = RunRecord.read(tmp_path / "m")
    assert (record.status, record.name, record.config["train"]["seed"]) == ("finished", recipe, 5)
    assert record.result["loss"] > 0
    assert record.model["parameters"] > 0
    assert record.limits
    (data,) = record.data
    assert len(data["digest"]) == 64
    card = (tmp_path / "m" / "model_card.md").read_text()
    for words in ("## Data", "- Licence: ", "## Limits", "| `loss` |"):
        assert words in card

    started(recipe, tmp_path, "--model_dir=m", "--mode=export")
    version = tmp_path / "m" / "versions" / "1"
    there = {path.name for path in version.iterdir()}
    assert there >= {"saved_model.pb", "model.keras", "run.json", "model_card.md", "variables"}
    message = sentence(
        start(recipe, tmp_path, "--model_dir=m", "--mode=export", "--export_dir=m/versions/1")
    )
    assert "--export_dir=m/versions/1 is not empty, it holds " in message

    changes, layer = OTHER_MODEL[recipe]
    message = sentence(start(recipe, tmp_path, "--model_dir=m", "--mode=evaluate", **changes))
    assert message.startswith("error: m/model.keras is of another model: the first layer that diff")
    assert layer in message
    assert " in the file and " in message


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", ["image_classifier", "recommender", "tabular"])
def test_two_workers_predict_every_row_once_and_in_order(recipe, tmp_path):
    started(recipe, tmp_path, "--model_dir=m", "--mode=train")
    words = ("--model_dir=m", "--mode=predict")
    started(recipe, tmp_path, *words, "--predict_output=one.jsonl")
    started(
        recipe,
        tmp_path,
        *words,
        "--predict_output=two.jsonl",
        launcher=TWO_WORKERS,
        **{"strategy.name": "multi_worker"},
    )
    one, two = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    record = RunRecord.read(tmp_path / "m")
    assert len(one) == record.data[0]["splits"]["test"]
    assert len(two) == len(one)
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if isinstance(value, float):
                np.testing.assert_allclose(theirs[name], value, atol=1e-4)
            else:
                assert theirs[name] == value


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_workers_find_the_metrics_of_slices_that_one_finds(tmp_path):
    recipe = "image_classifier"
    started(recipe, tmp_path, "--model_dir=m")
    one = RunRecord.read(tmp_path / "m")
    # 355 images in batches of 64: the last one has 35, 18 for one worker and 17 for the other.
    changes = {"strategy.name": "multi_worker"}
    words = ("--model_dir=m", "--mode=evaluate")
    started(recipe, tmp_path, *words, launcher=TWO_WORKERS, **changes)
    two = RunRecord.read(tmp_path / "m")
    assert sum(each["examples"] for each in one.slices["label"].values()) == 355
    for name, values in one.slices["label"].items():
        assert two.slices["label"][name] == pytest.approx(values, rel=1e-5)
    assert two.result["accuracy"] == pytest.approx(
        sum(v["accuracy"] * v["examples"] for v in two.slices["label"].values()) / 355
    )
