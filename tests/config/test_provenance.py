"""What a run leaves beside its model is enough to run it again."""

from __future__ import annotations

import json
import subprocess

from tfdml.config import Config, TrainConfig, load, write_provenance
from tfdml.config.provenance import git_revision


class Example(Config):
    train: TrainConfig = TrainConfig()


def git(directory, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", directory, *identity, *arguments], check=True, capture_output=True)


def test_the_written_configuration_loads_again(tmp_path):
    config = load(Example, (), ["train.epochs=3", "train.seed=9"])
    model_dir = tmp_path / "runs" / "a b"
    write_provenance(model_dir, config, seed=9)
    assert load(Example, [model_dir / "config.yaml"]) == config
    record = json.loads((model_dir / "provenance.json").read_text())
    assert record["seed"] == 9
    assert record["packages"]["tensorflow"].startswith("2.")
    assert {path.name for path in model_dir.iterdir()} == {"config.yaml", "provenance.json"}


def test_git_revision(tmp_path):
    assert git_revision(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "first")
    first = git_revision(tmp_path)
    assert len(first["revision"]) == 40
    assert first["modified"] is False
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == {"revision": first["revision"], "modified": True}
