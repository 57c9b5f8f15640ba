"""The converter's command line, in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfdml.data.manifest import Manifest

REPOSITORY = Path(__file__).parents[2]


def convert(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "data_tools.convert", *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def test_digits(tmp_path):
    done = convert("--format=digits", f"--output-dir={tmp_path}/a b", "--num_shards=3")
    assert done.returncode == 0, done.stderr
    assert "train: 1442 images in 3 shards\ntest: 355 images in 3 shards\n" in done.stdout
    assert len(Manifest.read(tmp_path / "a b").shard_lengths["train"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format=digits"], "--output_dir is missing"),
        (["--format=image_folder", "--output_dir=x"], "--format=image_folder needs --input"),
        (["--frmat=digits"], "Unknown command line flag 'frmat'. Did you mean: format"),
        (["--format=images", "--output_dir=x"], "<image_folder|digits>"),
        (["--format=image_folder", "--output_dir=x", "--input=a", "b"], "'b' is no flag"),
    ],
)
def test_wrong_flags(words, message):
    done = convert(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
