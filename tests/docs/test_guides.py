"""The migration guides: the diffs are short, apply, and give scripts that train on two workers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.guides import NAMES, SCRIPT, code_blocks, read_guide

MAX_CHANGED_LINES = 8


@pytest.mark.parametrize("name", NAMES)
def test_the_diff_is_short_and_applies(name, tmp_path):
    guide = read_guide(name)
    after = guide.after(tmp_path)
    assert 0 < guide.added <= MAX_CHANGED_LINES
    assert 0 < guide.removed <= MAX_CHANGED_LINES
    assert f"{guide.added} lines added, {guide.removed} removed." in guide.text
    for script in (guide.before, after):
        compile(script, SCRIPT, "exec")
    assert "tfdml.Trainer" in after
    assert "hvd" not in after


@pytest.mark.slow
def test_from_model_fit(tmp_path):
    guide = read_guide("from-model-fit")
    one_device = losses(python(guide.before, tmp_path))
    two_workers = launch(guide.after(tmp_path), tmp_path)
    assert two_workers.count("test accuracy:") == 2
    loss = losses(two_workers)
    # Later epochs see the examples in another order, as the guide says.
    assert loss[0] == pytest.approx(one_device[0], rel=1e-5)
    assert len(loss) == len(one_device) == 5
    assert loss[-1] < 0.15
    assert one_device[-1] < 0.15
    assert (tmp_path / "digits.keras").exists()


@pytest.mark.slow
def test_from_horovod(tmp_path):
    loss = losses(launch(read_guide("from-horovod").after(tmp_path), tmp_path))
    assert loss[-1] < 0.4 < loss[0]
    assert (tmp_path / "digits.keras").exists()


@pytest.mark.slow
def test_from_horovod_with_sharded_data(tmp_path):
    guide = read_guide("from-horovod")
    after = guide.after(tmp_path)
    (line,) = (line for line in after.splitlines() if line.startswith("train_data = "))
    function = code_blocks(guide.text, "python")[1]
    assert function.startswith("def train_data(context):")
    loss = losses(launch(after.replace(line, function), tmp_path))
    assert loss[-1] < 0.4 < loss[0]


@pytest.mark.slow
def test_from_custom_loop(tmp_path):
    guide = read_guide("from-custom-loop")
    name = "sparse_categorical_crossentropy"
    one_device = per_epoch(python(guide.before, tmp_path), name)
    two_workers = per_epoch(launch(guide.after(tmp_path), tmp_path), name)
    assert len(one_device) == 5
    assert one_device[-1] < 0.5
    # Both are printed with four digits.
    assert two_workers == pytest.approx(one_device, rel=1e-3)


def python(script: str, directory: Path) -> str:
    return run([], script, directory)


def launch(script: str, directory: Path) -> str:
    return run(["-m", "tfdml", "launch", "--workers=2"], script, directory)


def run(arguments: list[str], script: str, directory: Path) -> str:
    """What `script` prints, run by this Python with `arguments` before its name."""
    (directory / SCRIPT).write_text(script)
    done = subprocess.run(
        [sys.executable, *arguments, SCRIPT],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(output: str) -> list[float]:
    """The list that the script prints of the losses per epoch, the same by whoever prints it."""
    found = set(re.findall(r"^(?:\[worker \d\] )?loss: (\[.*\])$", output, re.M))
    assert len(found) == 1, output
    return ast.literal_eval(found.pop())


def per_epoch(output: str, name: str) -> list[float]:
    return [float(value) for value in re.findall(rf"epoch \d/5: .*\b{name} ([\d.]+)", output)]
