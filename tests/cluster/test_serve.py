"""Only the serving tasks of a parameter-server job serve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

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


def _start(task_type: str, ports: dict[str, int], before: str = "pass") -> subprocess.Popen[str]:
    jobs = {job: [f"127.0.0.1:{port}"] for job, port in ports.items()}
    tf_config = json.dumps({"cluster": jobs, "task": {"type": task_type, "index": 0}})
    return subprocess.Popen(
        [sys.executable, "-c", f"import tfdml.cluster as c; {before}; c.serve(c.resolve())"],
        env={**os.environ, "TF_CONFIG": tf_config},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("task_type", ["worker", "ps"])
def test_a_serving_task_listens_on_its_port_until_a_signal_ends_it(
    task_type: str, signum: int
) -> None:
    """Also where the script has a handler, for which `serve` never comes back."""
    ports = dict(zip(("chief", "worker", "ps"), free_ports(3), strict=True))
    handler = f"import signal; signal.signal({signum}, lambda *_: None)"
    with _start(task_type, ports, handler) as task:
        try:
            assert eventually(lambda: not is_free(ports[task_type]), seconds=60)
            time.sleep(0.5)  # It listens a moment before signals end it.
            assert task.poll() is None
            task.send_signal(signum)
            assert task.wait(timeout=20) == -signum
        finally:
            task.kill()


@pytest.mark.slow
def test_what_is_ignored_stays_so_and_a_taken_port_is_one_sentence() -> None:
    """As batch scripts do for tasks that the chief may need to save."""
    ports = dict(zip(("chief", "worker", "ps"), free_ports(3), strict=True))
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with _start("ps", ports, ignoring) as task:
        try:
            assert eventually(lambda: not is_free(ports["ps"]), seconds=60)
            with _start("ps", ports) as other:
                assert other.wait(timeout=60) == 1
                assert other.stderr is not None
                said = other.stderr.read().splitlines()[-1]
            task.terminate()
            time.sleep(0.5)
            assert task.poll() is None
        finally:
            task.kill()
    assert said.startswith(
        "tfdml.errors.ClusterError: Could not start gRPC server: the port of ps 0"
    )


def test_importing_it_imports_no_tensorflow() -> None:
    code = "import sys; from tfdml.cluster import serve; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
