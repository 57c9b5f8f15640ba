"""A job of two workers that trains on shards in S3: the losses of the same job on a local directory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        timeout=150,
    )


def train(dataset, model_dir, **environment):
    return run(
        "tfdml",
        "launch",
        "--workers=2",
        "recipes/train_image_classifier.py",
        "--config=configs/image_classifier/multi_worker.yaml",
        f"--set=data.dataset={dataset}",
        "--set=data.shuffle=shards",
        "--set=train.epochs=1",
        f"--model_dir={model_dir}",
        **environment,
    )


@pytest.mark.timeout(400)
def test_two_workers_train_as_on_a_local_disk(s3, tmp_path):
    url = s3.url("digits")
    for output_dir in (url, tmp_path / "local"):
        words = ("--format=digits", f"--output_dir={output_dir}", "--num_shards=8", "--name=digits")
        done = run("data_tools.convert", *words)
        assert done.returncode == 0, done.stderr

    place = {"TFDML_SHARD_CACHE": tmp_path / "cache"}
    done = [
        train(tmp_path / "local", tmp_path / "a"),
        train(url, tmp_path / "b", TFDML_SHARD_CACHE_BYTES=10**7, **place),
    ]
    losses = [re.findall(r"loss [0-9.]+", each.stdout + each.stderr) for each in done]
    assert losses[0] == losses[1] and losses[0], done[1].stderr[-2000:]
    fetched = s3.requests("GET", "digits/digits-")
    assert len(fetched) == 16 and set(fetched.values()) == {1}, "two workers share a cache"

    refused = train(url, tmp_path / "c", TFDML_SHARD_CACHE_BYTES=50_000, **place)
    assert refused.returncode == 2
    assert "do not fit into a shard cache of 50,000 bytes. Raise its limit" in refused.stderr
    assert "Traceback" not in refused.stderr
