"""The README: its example trains, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
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
import tensorflow as tf
from sklearn.datasets import load_digits


def load_data():
    x, y = load_digits(return_X_y=True)
    data = tf.data.Dataset.from_tensor_slices(((x / 16).astype("float32"), y))
    return data.take(1437).batch(64), data.skip(1437).batch(64)


def build_model():
    layers = [keras.layers.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)]
    return keras.Sequential(layers)
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
    _, launch, *arguments = shlex.split(line)
    command = [sys.executable, "-m", "tfdml", launch, "--dry_run", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "TF_CONFIG" in done.stdout
    for word in arguments:
        if word.startswith("--config="):
            assert (ROOT / word.partition("=")[2]).is_file()


@pytest.mark.slow
def test_the_example_trains_on_two_workers(tmp_path):
    (example,) = code_blocks(README, "python")
    (tmp_path / "my_project.py").write_text(MY_PROJECT)
    (tmp_path / "train.py").write_text(example)
    command = [sys.executable, "-m", "tfdml", "launch", "--workers=2", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    (last,) = re.findall(r"epoch 10/10: .*val_accuracy ([\d.]+)", done.stdout)
    assert float(last) > 0.5
    assert list((tmp_path / "runs" / "mine").glob("train/events*"))
