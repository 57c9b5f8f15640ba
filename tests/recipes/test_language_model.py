"""The language model as a user runs it: real processes, small folders of text, saved models in a plain Keras."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.text.folder import write_folder
from tests.recipes.starting import ONE_PROCESS, TWO_WORKERS, hashes, losses, run

REPOSITORY = Path(__file__).parents[2]
RECIPE = REPOSITORY / "recipes" / "train_language_model.py"
CONFIGS = REPOSITORY / "configs" / "language_model"
SMALL = {
    "data.dataset": "texts",
    "data.data_dir": "data",
    "data.vocabulary_size": 300,
    "data.sequence_length": 16,
    "data.test_fraction": 0.3,
    "model.width": 16,
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.hidden": 32,
    "train.global_batch_size": 8,
    "train.steps_per_epoch": 6,
    "train.steps_per_execution": 3,
    "train.epochs": 3,
}
WITHOUT_TENSORFLOW = f"""
import contextlib, runpy, sys
sys.path.insert(0, {str(RECIPE.parent)!r})
sys.argv = [{str(RECIPE)!r}, "--help"]
with contextlib.suppress(SystemExit):
    runpy.run_path({str(RECIPE)!r}, run_name="__main__")
print({{"tensorflow", "keras", "tokenizers"}} & set(sys.modules))
"""
# No tfdml, and no module of the recipe.
LOADED = """
import sys
import keras, numpy
tokens = numpy.load("tokens.npy")
answers = {"trained": keras.saving.load_model("one/model.keras", compile=False)(tokens)}
answers["exported"] = keras.saving.load_model("exported/model.keras")(tokens)
assert not {"tfdml", "language_models"} & set(sys.modules)
numpy.savez("keras.npz", **answers)
"""
SERVED = """
import sys
import numpy, tensorflow
tokens = numpy.load("tokens.npy")
served = tensorflow.saved_model.load("exported")
next_token = served.signatures["next_token"](tokens=tensorflow.constant(tokens))
assert not {"tfdml", "language_models"} & set(sys.modules)
numpy.savez("served.npz", model=served.serve(tokens), next_token=next_token["probabilities"])
"""


def start(launcher, directory: Path, *words: str, **options) -> subprocess.CompletedProcess[str]:
    return run(launcher, directory, *words, script=RECIPE, **options)


def train(launcher, directory: Path, *words: str, config="default", **changes) -> str:
    settings = [f"--set={name}={value}" for name, value in {**SMALL, **changes}.items()]
    done = start(launcher, directory, f"--config={CONFIGS / config}.yaml", *settings, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return done.stdout


def bits_per_byte(output: str) -> tuple[float, float]:
    pattern = r"held-out bits per byte: ([\d.]+) \(gzip -9: ([\d.]+)\)$"
    ((ours, gzip),) = re.findall(pattern, output, re.MULTILINE)
    return float(ours), float(gzip)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture
def texts(tmp_path) -> Path:
    write_folder(tmp_path / "texts")
    return tmp_path


def test_help_loads_neither_tensorflow_nor_the_tokenizers():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("set()\n"), done.stderr
    assert "data.vocabulary_size=4096" in done.stdout


def test_widths_that_heads_cannot_share_are_one_sentence(tmp_path):
    message = sentence(
        start(ONE_PROCESS, tmp_path, "--set=model.width=100", "--set=model.num_heads=8")
    )
    assert "width must be a multiple of 16, twice num_heads" in message
    assert "got 100. Use 112." in message


def test_a_folder_without_text_is_one_sentence(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").write_bytes(b"\xff\xd8")
    message = sentence(start(ONE_PROCESS, tmp_path, "--set=data.dataset=pictures"))
    assert "data.dataset=pictures: the directory has no file with .txt or" in message
    assert "but 1 of .jpg" in message


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_learn_as_one_device_does_and_the_model_is_whole(texts):
    one = train(ONE_PROCESS, texts, "--model_dir=one")
    two = train(TWO_WORKERS, texts, "--model_dir=two", config="multi_worker")
    first, second = hashes(two)
    assert first == second
    assert len(losses(texts / "two")) == 3
    np.testing.assert_allclose(losses(texts / "two"), losses(texts / "one"), atol=1e-4)
    np.testing.assert_allclose(bits_per_byte(two), bits_per_byte(one), atol=1e-3)
    assert losses(texts / "one")[-1] < losses(texts / "one")[0]

    with (texts / "one" / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["val_bits_per_byte"]) == pytest.approx(bits_per_byte(one)[0], abs=1e-3)
    assert float(last["tokens_per_second"]) > 0
    record = json.loads((texts / "two" / "run.json").read_text())
    assert record["result"]["bits_per_byte"] == pytest.approx(bits_per_byte(two)[0], abs=1e-4)

    # The saved model is the trained one, and so are its tokens, also for other text.
    again = train(ONE_PROCESS, texts, "--model_dir=two", "--mode=evaluate")
    assert hashes(again) == [first]
    assert bits_per_byte(again) == bits_per_byte(two)
    write_folder(texts / "more")
    (texts / "more" / "another.txt").write_text("something else\n" * 100)
    other = {"data.dataset": "more"}
    elsewhere = train(ONE_PROCESS, texts, "--model_dir=two", "--mode=evaluate", **other)
    assert hashes(elsewhere) == [first]

    # Another model is one sentence.
    settings = [f"--set={name}={value}" for name, value in {**SMALL, "model.hidden": 40}.items()]
    message = sentence(start(ONE_PROCESS, texts, "--model_dir=two", "--mode=evaluate", *settings))
    assert "is of another model: the first layer that differs is 'layer_0_gate'" in message


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_costs_no_step(texts):
    words = ("--mode=train", "--set=backup.save_freq=4")
    whole = train(TWO_WORKERS, texts, "--model_dir=whole", *words, config="multi_worker")
    restarting = [*TWO_WORKERS, "--max_restarts=1"]
    os.environ["TFDML_FAULTS"] = "kill:worker=1,step=12"
    try:
        killed = train(restarting, texts, "--model_dir=killed", *words, config="multi_worker")
    finally:
        del os.environ["TFDML_FAULTS"]
    assert set(hashes(killed)) == set(hashes(whole))
    assert json.loads((texts / "killed" / "run.json").read_text())["starts"] == 2
    np.testing.assert_array_equal(losses(texts / "killed"), losses(texts / "whole"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_samples_exports_and_further_training(texts):
    train(ONE_PROCESS, texts, "--model_dir=one")

    # Samples: seeded, a row each.
    sampling = {"sampling.num_samples": 3, "sampling.num_tokens": 5}
    words = (
        "--model_dir=one",
        "--mode=predict",
        "--predict_input=the a",
        "--predict_output=out.csv",
    )
    rows = []
    for seed in (1, 1, 2):
        output = train(ONE_PROCESS, texts, *words, f"--seed={seed}", **sampling)
        with (texts / "out.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
        assert f"the a{rows[-1][0]['continuation']}\n" in output
    assert rows[0] == rows[1] != rows[2]
    assert [row["prompt"] for row in rows[0]] == ["the a"] * 3

    # The export needs neither tfdml nor this recipe.
    train(ONE_PROCESS, texts, "--model_dir=one", "--mode=export", "--export_dir=exported")
    tokenizer = (texts / "one" / "tokenizer.json").read_bytes()
    assert (texts / "exported" / "tokenizer.json").read_bytes() == tokenizer
    np.save(texts / "tokens.npy", np.random.default_rng(0).integers(0, 280, [2, 11], np.int32))
    for script in (LOADED, SERVED):
        subprocess.run([sys.executable, "-c", script], cwd=texts, check=True, timeout=120)
    loaded, served = np.load(texts / "keras.npz"), np.load(texts / "served.npz")
    expected = loaded["trained"]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(loaded["exported"], expected, atol=1e-5)
    np.testing.assert_allclose(served["model"], expected, atol=1e-5)
    likelihoods = np.exp(expected[:, -1])
    likelihoods /= likelihoods.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(served["next_token"], likelihoods, atol=1e-5)

    # docs/text.md loads the model in the same way, and the sampler agrees with it.
    (example,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/text.md").read_text(), re.S)
    done = subprocess.run(
        [sys.executable, "-c", example.replace("runs/library", "one")],
        cwd=texts,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    greedy = {"sampling.temperature": 0, "sampling.num_tokens": 1}
    words = ("--model_dir=one", "--mode=predict", "--predict_input=import os")
    assert f"import os{done.stdout}" in train(ONE_PROCESS, texts, *words, **greedy)

    # Training goes on from the model that is there, with its tokens.
    write_folder(texts / "more")
    (texts / "more" / "n.txt").write_text("something else, many times\n" * 50)
    further = {"data.dataset": "more", "model.init_from": "one/model.keras"}
    train(ONE_PROCESS, texts, "--model_dir=tuned", **further)
    assert (texts / "tuned" / "tokenizer.json").read_bytes() == tokenizer
    assert losses(texts / "tuned")[0] < losses(texts / "one")[0] - 0.1

    wider = [f"--set={name}={value}" for name, value in {**SMALL, **further}.items()]
    done = start(ONE_PROCESS, texts, "--model_dir=wide", *wider, "--set=model.width=32")
    assert "one/model.keras is of another model" in sentence(done)
    (texts / "one" / "tokenizer.json").unlink()
    done = start(ONE_PROCESS, texts, "--model_dir=tuned", *wider)
    assert "tokenizer.json: the tokenizer cannot be read" in sentence(done)
