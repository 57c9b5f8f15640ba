"""`tfdml launch SCRIPT` where a platform has started it as one task: real processes, no TensorFlow.

The cluster is two names for this host, of which one task is here and a test's socket stands in for the other.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.launch.launcher import Launcher, lines_of
from tfdml.cluster.ports import free_ports

SHOW = """
    import os
    print(os.environ["TF_CONFIG"])
    print("CUDA", os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("TFDML_GPUS"))
"""


@pytest.fixture
def other() -> Iterator[str]:
    """The address of a task that answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def task_one(launcher: Launcher, other: str) -> Launcher:
    """A launcher that finds itself to be worker 1 of 2."""
    own = f"127.0.0.1:{free_ports(1)[0]}"
    tf_config = {"cluster": {"worker": [other, own]}, "task": {"type": "worker", "index": 1}}
    launcher.variables["TF_CONFIG"] = json.dumps(tf_config)
    return launcher


def slurm(nodes: str, **more: str) -> dict[str, str]:
    """Two tasks, this one the second of its node."""
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": "1",
        "TFDML_CLUSTER_PORT": str(free_ports(1)[0]),
        "TFDML_CLUSTER": "slurm",
        **more,
    }


def test_a_step_of_slurm_is_found_and_said_in_one_line(launcher: Launcher) -> None:
    launcher.variables |= slurm("n7", SLURM_GPUS_ON_NODE="4", CUDA_VISIBLE_DEVICES="0,1,2,3")
    port = int(launcher.variables["TFDML_CLUSTER_PORT"])
    result = launcher.run(launcher.script(SHOW))
    assert result.returncode == 0, result.stderr
    assert f"tfdml launch: Slurm: this is worker 1 at n7:{port + 1}, of 2 worker\n" in result.stderr
    shown, gpus = lines_of(result.stdout, "worker 1")
    assert json.loads(shown) == {
        "cluster": {"worker": [f"n7:{port}", f"n7:{port + 1}"]},
        "task": {"type": "worker", "index": 1},
    }
    assert gpus == "CUDA 0,1,2,3 2,3"  # What Slurm set stays; the share goes beside it.


def test_a_tf_config_that_kubeflow_set_is_completed(launcher: Launcher) -> None:
    tf_config = {
        "sparseCluster": {"worker": {"1": "job-worker-1.ns.svc:2222"}, "ps": None},
        "task": {"type": "worker", "index": 1},
        "environment": "cloud",
    }
    launcher.variables |= {"TF_CONFIG": json.dumps(tf_config), "TFDML_CLUSTER_WORKERS": "2"}
    result = launcher.run(launcher.script(SHOW))
    assert "Kubeflow: this is worker 1 at job-worker-1.ns.svc:2222, of 2 worker\n" in result.stderr
    found = json.loads(lines_of(result.stdout, "worker 1")[0])
    assert found["cluster"]["worker"] == ["job-worker-0.ns.svc:2222", "job-worker-1.ns.svc:2222"]


@pytest.mark.parametrize("status", [0, 1, 42, 130])
def test_the_exit_status_comes_through(task_one: Launcher, status: int) -> None:
    assert task_one.run(task_one.script(f"raise SystemExit({status})")).returncode == status


def test_the_task_starts_again_in_its_place(task_one: Launcher) -> None:
    """With the same cluster: the other launchers start theirs again too."""
    script = task_one.script(
        """
        import os, signal
        print(os.environ["TFDML_RESTART"], os.environ["TF_CONFIG"])
        if os.environ["TFDML_RESTART"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    result = task_one.run("--max_restarts=1", "--restart_backoff_seconds=0.1", script)
    assert result.returncode == 0, result.stderr
    assert "restart 1 of 1 in 0.1 s: worker 1 was ended by SIGKILL" in result.stderr
    first, second = (line.partition(" ") for line in lines_of(result.stdout, "worker 1"))
    assert (first[0], second[0]) == ("0", "1") and first[2] == second[2]


SAVE = """
    import pathlib, signal, sys, time
    directory, seconds, status = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    seen = []

    def save(signum, frame):
        seen.append(signum)
        time.sleep(seconds)
        print("saved", len(seen))
        sys.exit(status)

    signal.signal(signal.SIGTERM, save)
    (directory / "ready").touch()
    while True:
        time.sleep(0.05)
"""


def saving(launcher: Launcher, seconds: float, status: int, *flags: str) -> tuple[int, list[str]]:
    """What comes of SIGTERM to the launcher, whose task saves for `seconds`."""
    script = launcher.script(SAVE)
    arguments = (*flags, script, str(launcher.directory), str(seconds), str(status))
    process = launcher.begin(*arguments)
    launcher.wait_for(launcher.directory / "ready")
    process.send_signal(signal.SIGTERM)
    result = launcher.finish(process)
    launcher.expect_nothing_left()
    return result.returncode, lines_of(result.stdout, "worker 1")


@pytest.mark.parametrize("status", [42, 0, 7])
def test_sigterm_reaches_the_task_once_and_its_status_comes_through(
    task_one: Launcher, status: int
) -> None:
    """It saves for longer than tasks of a job of one's own are given."""
    assert saving(task_one, 6.0 if status == 42 else 0.1, status) == (status, ["saved 1"])


def test_the_grace_period_can_be_shorter(task_one: Launcher) -> None:
    returncode, lines = saving(task_one, 60.0, 42, "--grace_period_seconds=0.5")
    assert returncode == 128 + signal.SIGKILL and lines == []


def test_a_second_sigterm_does_not_hurry_the_task(task_one: Launcher) -> None:
    process = task_one.begin(task_one.script(SAVE), str(task_one.directory), "1.5", "42")
    task_one.wait_for(task_one.directory / "ready")
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        signal.sigtimedwait([], 0.3)
    result = task_one.finish(process)
    assert result.returncode == 42
    assert lines_of(result.stdout, "worker 1") == ["saved 1"]


def test_several_tasks_that_save_are_status_42_too(launcher: Launcher) -> None:
    script = launcher.script(
        SAVE.replace('"ready"', 'f"ready-{os.getpid()}"').replace("import ", "import os, ", 1)
    )
    process = launcher.begin(
        "--workers=2", "--start_method=spawn", script, str(launcher.directory), "0.1", "42"
    )
    while len(list(launcher.directory.glob("ready-*"))) < 2:
        signal.sigtimedwait([], 0.05)
    process.send_signal(signal.SIGTERM)
    assert launcher.finish(process).returncode == 42


def test_other_signals_are_handed_on(task_one: Launcher) -> None:
    script = task_one.script(
        """
        import pathlib, signal, sys, time
        def end(signum, frame):
            sys.exit(9)
        signal.signal(signal.SIGUSR1, end)
        pathlib.Path(sys.argv[1], "ready").touch()
        while True:
            time.sleep(0.05)
        """
    )
    process = task_one.begin(script, str(task_one.directory))
    task_one.wait_for(task_one.directory / "ready")
    process.send_signal(signal.SIGUSR1)
    assert task_one.finish(process).returncode == 9


def refused(launcher: Launcher, *flags: str) -> str:
    result = launcher.run(*flags, launcher.script("print('was started')"))
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_workers_in_a_cluster_are_refused_with_both_named(task_one: Launcher) -> None:
    error = refused(task_one, "--workers=2")
    assert "--workers=2" in error and "TF_CONFIG: this is worker 1 at " in error


def test_gpus_per_worker_in_a_cluster_is_refused(task_one: Launcher) -> None:
    error = refused(task_one, "--gpus_per_worker=1")
    assert "here TF_CONFIG has made them" in error


def test_an_index_beyond_the_cluster(task_one: Launcher) -> None:
    config = json.loads(task_one.variables["TF_CONFIG"])
    config["task"]["index"] = 2
    task_one.variables["TF_CONFIG"] = json.dumps(config)
    assert "this task is worker 2, but the cluster has 2 worker task(s)" in refused(task_one)


def test_a_pod_without_a_number(launcher: Launcher) -> None:
    launcher.variables |= {
        "TFDML_CLUSTER_SERVICE": "digits",
        "TFDML_CLUSTER_WORKERS": "2",
        "TFDML_CLUSTER": "kubernetes",
    }
    assert "the name of this pod must end in its number, like digits-0" in refused(launcher)


def test_a_port_in_use(task_one: Launcher) -> None:
    config = json.loads(task_one.variables["TF_CONFIG"])
    own = config["cluster"]["worker"][1]
    with socket.socket() as squatter:
        squatter.bind(("", int(own.rpartition(":")[2])))
        squatter.listen()
        result = task_one.run(task_one.script("print('was started')"))
    assert result.returncode == 2 and result.stdout == ""
    assert "of this host is taken, and TF_CONFIG means it for worker 1: end" in result.stderr
    assert "change the address of worker 1 in TF_CONFIG" in result.stderr


def test_a_host_that_does_not_answer_is_named(launcher: Launcher) -> None:
    own, silent = (f"127.0.0.1:{port}" for port in free_ports(2))
    tf_config = {"cluster": {"worker": [silent, own]}, "task": {"type": "worker", "index": 1}}
    launcher.variables["TF_CONFIG"] = json.dumps(tf_config)
    script = launcher.script("import time; time.sleep(1000)")
    result = launcher.run("--start_timeout_seconds=1", script)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"tfdml launch: worker 0 at {silent} did not answer within ")
    assert "(nothing listens there yet): see in TF_CONFIG whether its task started" in last


def test_an_unknown_host_is_named(launcher: Launcher) -> None:
    own = f"127.0.0.1:{free_ports(1)[0]}"
    hosts = ["no-such-host.invalid:2222", own]
    tf_config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 1}}
    launcher.variables["TF_CONFIG"] = json.dumps(tf_config)
    result = launcher.run(
        "--start_timeout_seconds=1", launcher.script("import time; time.sleep(1000)")
    )
    assert result.returncode == 1 and "(no such host name)" in result.stderr


def test_a_single_task_of_a_platform_is_a_plain_process(launcher: Launcher) -> None:
    launcher.variables |= slurm(
        "n7", SLURM_STEP_TASKS_PER_NODE="1", SLURM_STEP_NUM_TASKS="1", SLURM_PROCID="0"
    )
    result = launcher.run(launcher.script("import os; print(os.environ.get('TF_CONFIG'))"))
    assert "Slurm: a single task, which needs no cluster\n" in result.stderr
    assert lines_of(result.stdout, "worker 0") == ["None"]
    two = launcher.run("--workers=2", "--start_method=spawn", launcher.script("print('ran')"))
    assert lines_of(two.stdout, "worker 1") == ["ran"]


def test_a_dry_run_shows_the_task(task_one: Launcher) -> None:
    result = task_one.run("--dry_run", task_one.script("print('was started')"))
    assert result.returncode == 0 and "was started" not in result.stdout.splitlines()
    assert result.stdout.startswith("# worker 1; TF_CONFIG: ")
