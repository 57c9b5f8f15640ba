"""`tfdml verify` as a command: findings a line each, and the exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.directories import write_directory

REPOSITORY = Path(__file__).parents[3]
SHARD = "toy-train.tfrecord-00001-of-00002"


def tool(*words: object, start=("-m", "tfdml", "verify")) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *start, *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_findings_and_status(tmp_path):
    directory = tmp_path / "a b"
    write_directory(directory, {"train": 9})
    done = tool(directory)
    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    size = sum(file.stat().st_size for file in directory.glob("toy-*"))
    assert done.stdout == f"2 shards, 9 records (9 decoded), {size:,} bytes: nothing wrong\n"
    (directory / SHARD).unlink()
    done = tool(f"--input-dir={directory}", "--full", "--num_processes=2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == f"{SHARD}: is missing"
    assert done.stdout.splitlines()[-1].endswith(": 1 finding")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/at/all"], "nowhere/at/all: no such directory, or an empty one"),
        (["--ful"], "Unknown command line flag 'ful'. Did you mean: full"),
    ],
)
def test_wrong_words(words, message):
    done = tool(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_help_teaches():
    done = tool("--help")
    assert done.returncode == 0
    assert "tfdml verify s3://bucket/shards --split=test" in done.stdout
    assert "--[no]full" in done.stdout and "--sample=INT" in done.stdout


def test_tensorflow_is_not_loaded(tmp_path):
    write_directory(tmp_path, {"train": 9})
    done = tool(tmp_path, start=("-X", "importtime", "-m", "data_tools.verify"))
    assert done.returncode == 0, done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tfdml.data.checks.verify" in loaded
    assert not loaded & {"tensorflow", "keras", "tensorflow_datasets"}
