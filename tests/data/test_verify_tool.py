"""`tfdml verify` as a command: findings a line each, and the exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.directories import write_directory

REPOSITORY = Path(__file__).parents[2]
SHARD = "toy-train.tfrecord-00001-of-00002"


def tool(*words: object, start=("-m", "data_tools.verify")) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *start, *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("start", [("-m", "data_tools.verify"), ("-m", "tfdml", "verify")])
def test_findings_and_status(tmp_path, start):
    directory = tmp_path / "a b"
    write_directory(directory, {"train": 9})
    done = tool(directory, start=start)
    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    size = sum(file.stat().st_size for file in directory.glob("toy-*"))
    assert done.stdout == f"2 shards, 9 records (9 decoded), {size:,} bytes: nothing wrong\n"
    (directory / SHARD).unlink()
    done = tool(f"--input-dir={directory}", "--full", "--num_processes=2", start=start)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == f"{SHARD}: is missing"
    assert done.stdout.splitlines()[-1].endswith(": 1 finding")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--input_dir is missing: a directory of shards, or its URL"),
        (["nowhere/at/all"], "nowhere/at/all: no such directory, or an empty one"),
        (["a", "b"], "One directory is wanted, got 'a', 'b'"),
        (["--ful"], "Unknown command line flag 'ful'. Did you mean: full"),
        (["nosuch://bucket/shards"], "nosuch"),
    ],
)
def test_wrong_words(words, message):
    done = tool(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_help_teaches_and_nothing_loads_tensorflow(tmp_path):
    done = tool("--help")
    assert done.returncode == 0
    assert "tfdml verify s3://bucket/shards --split=test" in done.stdout
    assert "--[no]full" in done.stdout and "--sample=INT" in done.stdout
    write_directory(tmp_path, {"train": 9})
    code = f"""
import runpy, sys
sys.argv = ["verify", {str(tmp_path)!r}]
try:
    runpy.run_path("data_tools/verify.py", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    done = tool(code, start=("-c",))
    assert done.returncode == 0, done.stderr
