"""`sbatch --test-only` accepts generated files of every kind, and refuses what the cluster cannot do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import write

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "partition", "nodes"),
    [
        ({}, "main", 1),
        ({"workers": 1}, "main", 1),
        ({"workers": 16}, "main", 2),
        ({"workers": 4, "cpus_per_worker": 4, "memory_gib_per_worker": 16}, "main", 2),
        ({"workers": 2, "gpus_per_worker": 4}, "main", 2),
        ({"workers": 8, "gpus_per_worker": 1}, "main", 2),
        ({"workers": 64, "gpus_per_worker": 8, "cpus_per_worker": 32}, "big", 64),
        ({"workers": 512, "gpus_per_worker": 1, "cpus_per_worker": 4}, "big", 64),
        ({"workers": 8, "chief": True, "evaluator": True}, "main", 2),
        ({"workers": 4, "ps": 2, "evaluator": True, "gpus_per_worker": 1}, "main", 2),
        ({"time_limit_minutes": 1, "save_seconds": 0}, "main", 1),
        ({"time_limit_minutes": 366 * 24 * 60, "save_seconds": 65535}, "main", 1),
        ({"volume": "/scratch/it's $here", "port": 4000, "max_restarts": 0}, "main", 1),
    ],
)
def test_accepted(
    settings: dict[str, Any], partition: str, nodes: int, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    file = write(tmp_path, "", "--flag=it's", **settings)
    done = slurm_cluster.attempt("sbatch", "--test-only", f"--partition={partition}", str(file))
    assert done.returncode == 0, done.stderr
    match = re.search(r"on nodes (\S+) in partition (\S+)", done.stderr)
    assert match and match[2] == partition
    names = slurm_cluster.run("scontrol", "show", "hostnames", match[1]).split()
    assert len(names) == nodes


@pytest.mark.parametrize(
    "settings", [{"gpus_per_worker": 5}, {"workers": 17}, {"memory_gib_per_worker": 65}]
)
def test_what_the_cluster_does_not_have_is_refused(
    settings: dict[str, Any], slurm_cluster: Cluster, tmp_path: Path
) -> None:
    """So that the test above can fail."""
    done = slurm_cluster.attempt("sbatch", "--test-only", str(write(tmp_path, "", **settings)))
    assert done.returncode == 1
    assert "Requested node configuration is not available" in done.stderr
