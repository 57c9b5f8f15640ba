"""A recipe trains to its end where what is monitored cannot be written, with one warning for each writer."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "train_image_classifier.py"
SHORT = ("train.epochs=3", "monitoring.every_steps=1", "train.steps_per_execution=1")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A file system in memory at `directory`."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    directory.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tfdml-test", directory]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def train(model_dir: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    settings = [word for setting in SHORT for word in ("--set", setting)]
    done = subprocess.run(
        [
            sys.executable,
            str(RECIPE),
            f"--model_dir={model_dir}",
            "--set",
            f"data.data_dir={model_dir.parent / 'data'}",
            *settings,
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^test accuracy: 0\.[89]", done.stdout, re.M), done.stdout
    assert "Traceback" not in done.stderr
    return done


def warnings(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"monitoring: .*", done.stderr + done.stdout)


def test_a_full_disk_and_a_port_in_use(tmp_path: Path) -> None:
    model_dir = tmp_path / "run"
    with socket.socket() as taken, mounted(model_dir / "monitoring", "size=16k"):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = train(model_dir, f"--metrics_port={taken.getsockname()[1]}")
        found = sorted(warnings(done))
        assert len(found) == 2, found
        assert re.match(r"monitoring: JSON lines is left out .* No space left on device", found[0])
        assert re.match(r"monitoring: Prometheus is left out .* Choose another port", found[1])
        shown = subprocess.run(
            [sys.executable, "-m", "tfdml", "top", "--once", str(model_dir)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "worker 0" in shown.stdout, shown.stderr
    assert (model_dir / "model.keras").exists()
    assert list((model_dir / "validation").glob("events.out.tfevents.*"))


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    model_dir = tmp_path / "run"
    with mounted(model_dir / "monitoring", "ro"):
        found = warnings(train(model_dir))
    assert len(found) == 1, found
    assert re.match(r"monitoring: JSON lines is left out .* Read-only file system", found[0])
