"""`verify`, `inspect` and `stats` of a directory on S3, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.directories import write_directory
from tfdml.storage import storage_for

REPOSITORY = Path(__file__).parents[3]


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tfdml", *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_tools_say_the_same_as_of_local_files(s3, tmp_path):
    write_directory(tmp_path, {"train": 40, "test": 6})
    url = s3.url("tools")
    for file in tmp_path.rglob("*"):
        if file.is_file():
            storage_for(url).write_bytes(file.relative_to(tmp_path).as_posix(), file.read_bytes())
    for words in (
        ["verify", "--full", "--num_processes=2"],
        ["inspect", "--records=3"],
        ["stats", "--recompute"],
    ):
        local, remote = tool(*words, tmp_path), tool(*words, url)
        assert remote.returncode == 0, remote.stderr
        assert remote.stdout.replace(url, "") == local.stdout.replace(str(tmp_path), "")
    name = "toy-test.tfrecord-00001-of-00002"
    data = storage_for(url).read_bytes(name)
    storage_for(url).write_bytes(name, data[:-1])
    done = tool("verify", url)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{name}: ends within record 2")
    done = tool("inspect", url + "-nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
