"""Jobs as the generator writes them, with a script that a test gives."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Any

from tests.slurm.cluster import Cluster
from tfdml.deploy import Job, slurm

# Small enough that several tasks fit on the nodes that the tests start.
SMALL: dict[str, Any] = {"cpus_per_worker": 1, "memory_gib_per_worker": 1}


def write(directory: Path, script: str, *arguments: str, **settings: Any) -> Path:
    """The script and the file for sbatch; the job runs in `directory`."""
    (directory / "script.py").write_text(textwrap.dedent(script))
    file = directory / "job.sbatch"
    job = Job(command=("script.py", *arguments), **{**SMALL, **settings})
    file.write_text(slurm.generate(job))
    return file


def wait_for(cluster: Cluster, job: str, *files: Path, seconds: float = 60.0) -> None:
    """Until a running job has written all of these files."""
    deadline = time.monotonic() + seconds
    while not all(file.exists() for file in files):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{files} are not all there: {cluster.facts(job)}")
        time.sleep(0.1)


def lines(directory: Path) -> list[str]:
    """What the job's tasks and its batch script printed, in one order for all tests."""
    return sorted((directory / "job.log").read_text().splitlines())
