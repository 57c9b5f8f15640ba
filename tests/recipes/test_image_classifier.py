"""The image classifier as a user runs it: real processes, real digits."""

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

REPOSITORY = Path(__file__).parents[2]
RECIPE = REPOSITORY / "recipes" / "train_image_classifier.py"
CONFIGS = REPOSITORY / "configs" / "image_classifier"
ONE_PROCESS = [sys.executable]
TWO_WORKERS = [sys.executable, "-m", "tfdml.cli.main", "launch", "--workers=2"]

# The negative control: a worker that keeps its gradients to itself.
IDENTITY_EXCHANGE = f"""
import runpy, sys
from tfdml.collectives.dense import DenseExchange
DenseExchange.reduce = lambda self, gradients, variables, **rest: list(gradients)
sys.path.insert(0, {str(RECIPE.parent)!r})
sys.argv[0] = {str(RECIPE)!r}
runpy.run_path({str(RECIPE)!r}, run_name="__main__")
"""


def run(
    launcher: list[str], directory: Path, *words: str, script: Path = RECIPE, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [*launcher, str(script), *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def train(launcher: list[str], directory: Path, config: str, *words: str, **options) -> str:
    done = run(launcher, directory, f"--config={CONFIGS / config}.yaml", *words, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def accuracy(output: str) -> float:
    (value,) = re.findall(r"test accuracy: (0\.\d{4}|1\.0000)$", output, re.MULTILINE)
    return float(value)


def hashes(output: str) -> list[str]:
    return re.findall(r"final weights sha256: ([0-9a-f]{64})$", output, re.MULTILINE)


def losses(model_dir: Path) -> np.ndarray:
    with (model_dir / "history.csv").open() as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "data.dataset=no/such/dir"], "no/such/dir: no such directory"),
        (["--set", "data.augment.flips=both"], "did you mean `data.augment.flip`?"),
        (
            [
                f"--config={CONFIGS}/mirrored.yaml",
                "--set=strategy.num_virtual_devices=2",
                "--set=train.global_batch_size=63",
            ],
            "a multiple of the 2 replicas, got 63. Use 62 or 64.",
        ),
    ],
    ids=["missing data", "misspelt augmentation", "batch not divisible"],
)
def test_bad_input_is_one_sentence(tmp_path, words, message):
    done = run(ONE_PROCESS, tmp_path, *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line


def test_evaluating_without_a_model_says_what_to_do(tmp_path):
    done = run(ONE_PROCESS, tmp_path, "--mode=evaluate", "--model_dir=empty")
    assert done.returncode == 2
    assert "error: empty/model.keras: no such model. Train it first" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_learn_the_digits_as_one_device_does(tmp_path):
    one = train(ONE_PROCESS, tmp_path, "default", "--model_dir=one")
    two = train(TWO_WORKERS, tmp_path, "multi_worker", "--model_dir=two")
    assert accuracy(one) >= 0.95
    assert accuracy(two) >= 0.95
    first, second = hashes(two)
    assert first == second
    assert len(losses(tmp_path / "two")) == 12
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-4)
    assert "tensorboard --logdir two\n" in two
    assert list((tmp_path / "two" / "train").glob("events.out.tfevents.*"))
    record = json.loads((tmp_path / "two" / "provenance.json").read_text())
    assert record["seed"] == 0

    # The saved model is the trained one, also for another number of workers.
    again = train(ONE_PROCESS, tmp_path, "default", "--mode=evaluate", "--model_dir=two")
    assert accuracy(again) == accuracy(two)
    assert hashes(again) == [first]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_augmented_and_mixed_images_are_the_same_on_two_workers(tmp_path):
    settings = ("train.epochs=2", "data.augment.crop_padding=1", "data.augment.color_jitter=0.2")
    settings = (*settings, "data.augment.mixup_alpha=0.2", "data.augment.cutmix_alpha=1.0")
    words = [word for setting in settings for word in ("--set", setting)]
    one = train(ONE_PROCESS, tmp_path, "default", "--model_dir=one", *words)
    two = train(TWO_WORKERS, tmp_path, "multi_worker", "--model_dir=two", *words)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-4)
    assert accuracy(one) > 0.1 and abs(accuracy(two) - accuracy(one)) < 0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_seed_decides_every_bit(tmp_path):
    def weights(seed: int) -> str:
        words = ["--set", "train.epochs=2", "--set", f"train.seed={seed}"]
        return hashes(train(TWO_WORKERS, tmp_path, "multi_worker", "--mode=train", *words))[0]

    first = weights(1)
    assert weights(1) == first
    assert weights(2) != first


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_the_exchange_both_checks_fail(tmp_path):
    script = tmp_path / "identity.py"
    script.write_text(IDENTITY_EXCHANGE)
    short = ["--set", "train.epochs=2"]
    train(ONE_PROCESS, tmp_path, "default", "--model_dir=one", *short)
    broken = train(TWO_WORKERS, tmp_path, "multi_worker", "--model_dir=two", *short, script=script)
    first, second = hashes(broken)
    assert first != second
    assert np.abs(losses(tmp_path / "two") - losses(tmp_path / "one")).max() > 1e-2
