"""The README: its example trains, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.guides import code_blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text()

MY_PROJECT = """
import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

keras.config.set_dtype_policy("mixed_float16")
keras.utils.set_random_seed(1)


def load_data():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    if PLANT_NAN:
        x[5 * 64 + 40, 3] = np.nan  # batch 5; rows 32 to 63 of each batch go to worker 1
    data = tf.data.Dataset.from_tensor_slices((x, y))
    train_data = data.take(1437).batch(64)
    return train_data, data.skip(1437).batch(64)


def build_model():
    layers = [
        keras.layers.Input((64,)),
        keras.layers.Dense(64, "relu"),
        keras.layers.Dense(10, dtype="float32"),
    ]
    return keras.Sequential(layers)
"""

# What the test wants to know at the end of the example.
TELL = """
from tfdml.testing import weight_hash

optimizer = model.optimizer
print("scale", float(optimizer.loss_scale), "skipped", int(optimizer.skipped_steps.numpy()))
print("iterations", int(optimizer.iterations.numpy()), "hash", weight_hash(model))
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), re.M)) <= targets


def launch_lines() -> list[str]:
    text = "".join(page.read_text() for page in PAGES).replace("\\\n", " ")
    lines = re.findall(r"^tfdml launch .*$", text, re.M)
    return sorted({line.partition("#")[0].strip() for line in lines})


@pytest.mark.parametrize("line", launch_lines())
def test_launch_lines_are_understood(line, tmp_path):
    (tmp_path / "train.py").touch()
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    own = socket.gethostname()
    (tmp_path / "hosts.txt").write_text(f"{own} slots=4\nb slots=4\n")
    _, launch, *arguments = shlex.split(line)
    if not {"--ssh", "--node_index=0"} & set(arguments):  # Where a host finds itself by its name.
        arguments = [re.sub(r"--hosts=[\w-]+", f"--hosts={own}", word) for word in arguments]
    command = [sys.executable, "-m", "tfdml", launch, "--dry_run", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ("b\nssh" if "--ssh" in arguments else "TF_CONFIG") in done.stdout
    for word in arguments:
        if word.startswith("--config="):
            assert (ROOT / word.partition("=")[2]).is_file()


def run_example(folder: Path, plant_nan: bool) -> str:
    (example,) = code_blocks(README, "python")
    project = MY_PROJECT.replace("PLANT_NAN", str(plant_nan))
    (folder / "my_project.py").write_text(project)
    (folder / "train.py").write_text(example + TELL)
    command = [sys.executable, "-m", "tfdml", "launch", "--workers=2", "train.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    (last,) = re.findall(r"epoch 10/10: .*val_accuracy ([\d.]+)", done.stdout)
    assert float(last) > 0.7
    assert list((folder / "runs" / "mine").glob("train/events*"))
    assert not list((folder / "runs" / "mine" / "backup").iterdir()), "not removed at the end"
    return done.stdout


def told(output: str) -> dict[str, tuple[str, ...]]:
    """What each worker printed at the end: scale, skipped steps, iterations, hash."""
    pattern = r"\[worker {}\] scale (\S+) skipped (\S+)\n(?:\[worker .*\n)*?"
    pattern += r"\[worker {}\] iterations (\S+) hash (\S+)"
    found = {}
    for worker in ("0", "1"):
        match = re.search(pattern.format(worker, worker), output)
        assert match, output
        found[worker] = match.groups()
    return found


@pytest.mark.slow
def test_the_example_trains_under_mixed_float16_on_two_workers(tmp_path):
    workers = told(run_example(tmp_path, plant_nan=False))
    assert workers["0"] == workers["1"]
    assert workers["0"][:3] == (str(2.0**15), "0", "230")


@pytest.mark.slow
def test_a_nan_on_worker_1_skips_the_step_everywhere_and_training_goes_on(tmp_path):
    """The planted example comes once an epoch, so ten steps are skipped and the scale halves ten times."""
    workers = told(run_example(tmp_path, plant_nan=True))
    assert workers["0"] == workers["1"]
    assert workers["0"][:3] == (str(2.0**5), "10", "220")
