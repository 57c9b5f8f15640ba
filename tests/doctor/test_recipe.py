"""Training scripts that are run up to their training, and no further."""

from __future__ import annotations

import os
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from tests.doctor.subjects import by_level, only, tf_config
from tfdml.doctor.checks import recipe
from tfdml.doctor.subject import Subject

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "train_image_classifier.py"
THREE = tf_config("localhost:1", "localhost:2", "localhost:3")

SCRIPT = """
import keras
import numpy as np
import tensorflow as tf

import tfdml

cluster = tfdml.cluster.resolve()
assert cluster.is_local
strategy = tfdml.strategies.create("multi_worker", cluster)
x, y = np.zeros((60, 8), "float32"), np.zeros((60, 1), "float32")
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
with strategy.scope():
    layers = [keras.layers.Input((8,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer="sgd", loss="mse", jit_compile={jit})
trainer = tfdml.Trainer(model, strategy)
trainer.fit(data, epochs=1)
open("trained", "w")
"""


def check(script: Path, environ=None, **options):
    with closing(
        Subject(environ={**os.environ, **(environ or {})}, recipe=script, **options)
    ) as subject:
        # That it imports is not the question here, and takes as long as the rest.
        subject.tensorflow = type("Answer", (), {"values": {"keras": "3"}})()
        return list(recipe.check(subject))


def write(directory: Path, text: str) -> Path:
    script = directory / "train.py"
    script.write_text(textwrap.dedent(text))
    return script


def test_without_a_recipe_there_is_nothing_to_say():
    assert list(recipe.check(Subject())) == []


@pytest.mark.slow
def test_a_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = check(write(tmp_path, SCRIPT.format(jit='"auto"')), THREE)
    texts = by_level(findings)
    assert "error" not in texts
    assert any("BatchNormalization layer(s)" in text for text in texts["warning"])
    assert any("of 6 rows" in text for text in texts["warning"])
    assert any(
        "a global batch of 20 is cut into uneven slices for 3" in t for t in texts["warning"]
    )
    assert texts["ok"] == [
        "train.py gets to its training with these settings, on 3 worker(s), global batches of 20"
    ]
    assert not (tmp_path / "trained").exists()


@pytest.mark.slow
def test_a_script_whose_model_the_trainer_would_refuse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = by_level(check(write(tmp_path, SCRIPT.format(jit=True)), THREE))
    assert [text[:49] for text in texts["error"]] == [
        "`jit_compile=True` cannot work with 3 replicas (X"
    ]
    assert "ok" not in texts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "level", "words"),
    [
        ("1 / 0", "error", "ended with status 1 while it was running the script: ZeroDivisionError"),
        ("raise SystemExit(3)", "error", "ended with status 3"),
        ("print('no training here')", "warning", "ended without a tfdml.Trainer"),
        ("from tfdml.errors import *\nwith exit_on_user_error(): raise DataError('no data.')",
         "error", "train.py: no data."),
    ],
)  # fmt: skip
def test_scripts_that_do_not_get_there(tmp_path, script, level, words):
    finding = only(check(write(tmp_path, script)), level)
    assert words in finding.text


@pytest.mark.slow
def test_the_recipe_with_its_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = str(ROOT / "configs" / "image_classifier" / "multi_worker.yaml")
    options = {"config_files": (config,)}
    texts = by_level(check(RECIPE, THREE, **options, overrides=("train.global_batch_size=96",)))
    assert "error" not in texts
    assert texts["ok"][0].endswith("on 3 worker(s), global batches of 96")
    for override, words in {
        "train.global_batch_size=32": "must be a multiple of the 3 replicas, got 32. Use 30 or 33.",
        "train.epochz=2": "did you mean `train.epochs`?",
    }.items():
        finding = only(check(RECIPE, THREE, **options, overrides=(override,)), "error")
        assert finding.text.startswith("train_image_classifier.py: ") and words in finding.text
