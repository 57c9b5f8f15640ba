"""How tests start a recipe as a user does, and what they read of what it leaves."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
ONE_PROCESS = [sys.executable]
TWO_WORKERS = [sys.executable, "-m", "tfdml.cli.main", "launch", "--workers=2"]


def run(
    launcher: list[str],
    directory: Path,
    *words: str,
    script: Path,
    timeout: float = 280,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(
        [*launcher, str(script), *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def train(
    recipe: str, launcher: list[str], directory: Path, data_dir: Path, config: str, *words: str
) -> str:
    """What `recipe` prints with one of its configs; its shards are those of `data_dir`."""
    done = run(
        launcher,
        directory,
        f"--config={REPOSITORY / 'configs' / recipe / config}.yaml",
        f"--set=data.data_dir={data_dir}",
        *words,
        script=REPOSITORY / "recipes" / f"train_{recipe}.py",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return done.stdout


def hashes(output: str) -> list[str]:
    return re.findall(r"final weights sha256: ([0-9a-f]{64})$", output, re.MULTILINE)


def losses(model_dir: Path) -> np.ndarray:
    with (model_dir / "history.csv").open() as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])
