"""The generated file trains the digits on two tasks, as well as `make demo` does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import lines
from tfdml.deploy import Job, slurm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_digits(slurm_cluster: Cluster, tmp_path: Path) -> None:
    command = (
        str(ROOT / "recipes" / "train_image_classifier.py"),
        f"--config={ROOT / 'configs' / 'image_classifier' / 'multi_worker.yaml'}",
        f"--model_dir={tmp_path / 'model'}",
    )
    file = tmp_path / "digits.sbatch"
    file.write_text(slurm.generate(Job(command=command, name="digits", workers=2)))
    facts = slurm_cluster.wait(slurm_cluster.submit(file), seconds=240)
    printed = lines(tmp_path)
    assert (facts["JobState"], facts["NumTasks"]) == ("COMPLETED", "2"), "\n".join(printed)
    hashes = [re.search(r"final weights sha256: (\w{64})$", line) for line in printed]
    assert len({match[1] for match in hashes if match}) == 1
    assert len([match for match in hashes if match]) == 2
    (accuracy,) = [line for line in printed if line.startswith("0: test accuracy: ")]
    assert float(accuracy.split()[-1]) >= 0.95
