"""Only the serving tasks of a parameter-server job serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.launch.launcher import eventually
from tfdml.cluster import ClusterSpec, serve
from tfdml.cluster.ports import free_ports, is_free

PS_JOB = ClusterSpec({"chief": ("a:1",), "worker": ("b:1",), "ps": ("c:1",)}, "chief", 0)


@pytest.mark.parametrize(
    "cluster",
    [
        ClusterSpec.local(),
        ClusterSpec({"worker": ("a:1", "b:1")}),
        PS_JOB,
        PS_JOB.with_task("evaluator", 0),
    ],
)
def test_tasks_that_run_the_script_do_not_serve(cluster: ClusterSpec) -> None:
    assert serve(cluster) is False


@pytest.mark.slow
@pytest.mark.parametrize("task_type", ["worker", "ps"])
def test_a_serving_task_listens_on_its_port_until_it_is_ended(task_type: str) -> None:
    chief, worker, ps = free_ports(3)
    ports = {"chief": chief, "worker": worker, "ps": ps}
    jobs = {job: [f"127.0.0.1:{port}"] for job, port in ports.items()}
    tf_config = json.dumps({"cluster": jobs, "task": {"type": task_type, "index": 0}})
    task = subprocess.Popen(
        [sys.executable, "-c", "import tfdml.cluster as c; c.serve(c.resolve())"],
        env={**os.environ, "TF_CONFIG": tf_config},
    )
    try:
        assert eventually(lambda: not is_free(ports[task_type]), seconds=60)
        assert task.poll() is None
    finally:
        task.kill()
        task.wait()
