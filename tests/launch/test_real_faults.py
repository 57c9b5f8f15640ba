"""Faults under real collectives: what TensorFlow notices itself, and what only the launcher does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.launch.launcher import Launcher, lines_of
from tests.launch.network import hosts

pytestmark = pytest.mark.slow

TRAIN = """
    import os, signal, sys, threading
    import tensorflow as tf
    import tfdml
    from tfdml import heartbeat

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create("multi_worker", cluster)

    @tf.function
    def total(x):
        return strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.identity(x))
        )

    def callback():
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    for step in range(1, 20):
        with heartbeat.waiting():
            value = total(tf.constant(1.0)).numpy()
        heartbeat.beat(step)
        if step == 5 and os.environ["TFDML_RESTART"] == "0" and cluster.task_index == int(sys.argv[2]):
            if sys.argv[1] == "lock":
                callback()
            os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    print("sum", value)
"""
STUCK = "worker 1 (after step 5) is stuck outside of the call in which the others"
STOPPED = "has been stopped by a signal (SIGSTOP, say), and worker"


@pytest.mark.parametrize(
    ("start_method", "fault", "index", "told"),
    [
        ("fork", "SIGKILL", 0, "worker 0 was ended by SIGKILL"),
        ("fork", "SIGSTOP", 0, f"worker 0 {STOPPED} 1 lost it"),
        ("fork", "SIGSTOP", 1, f"worker 1 {STOPPED} 0 lost it"),
        ("fork", "lock", 1, STUCK),
        ("spawn", "lock", 1, STUCK),
    ],
    ids=lambda value: str(value)[:8],
)
def test_a_fault_is_named_and_survived(
    launcher: Launcher, start_method: str, fault: str, index: int, told: str
) -> None:
    flags = ("--workers=2", f"--start_method={start_method}", "--max_restarts=1")
    # For signals longer than TensorFlow takes to notice.
    timeout = f"--hang_timeout_seconds={3 if fault == 'lock' else 30}"
    result = launcher.run(*flags, timeout, launcher.script(TRAIN), fault, str(index))
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = (line for line in result.stderr.splitlines() if "restart 1 of 1" in line)
    assert told in line
    for worker in (0, 1):
        assert lines_of(result.stdout, f"worker {worker}")[-1] == "sum 2.0"
    if fault == "lock":
        shown = lines_of(result.stdout, "worker 1")
        assert any(" in callback" in line for line in shown)


def test_a_worker_that_cannot_be_brought_back(launcher: Launcher) -> None:
    """Two real clusters of two sizes: of three workers, and of the two that are left."""
    script = launcher.script(
        TRAIN.replace("if step == 5 and", "if step == 5 and cluster.num_workers == 3 and").replace(
            'os.environ["TFDML_RESTART"] == "0" and', ""
        )
    )
    flags = ("--workers=3", "--min_workers=2", "--give_up_after=2", "--max_restarts=2")
    result = launcher.run(*flags, script, "SIGKILL", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "worker 2 failed 2 times without progress: going on with 2 of 3 workers" in result.stderr
    assert lines_of(result.stdout, "worker 0")[-1] == "sum 2.0"


@pytest.mark.parametrize("fault", ["SIGKILL", "lock"])
def test_two_hosts_start_their_own_shares_again(
    launcher: Launcher, tmp_path: Path, fault: str
) -> None:
    script = launcher.script(TRAIN)
    flags = ("--hosts=n1:2,n2:2", "--max_restarts=2", "--hang_timeout_seconds=5")
    with hosts(tmp_path) as made:
        processes = [
            launcher.begin(*flags, script, fault, "3", within=host.within) for host in made
        ]
        results = [launcher.finish(process) for process in processes]
    for index, result in enumerate(results):
        assert result.returncode == 0, result.stderr
        assert "restart 1 of 2 in 10 s" in result.stderr and "restart 2 of" not in result.stderr
        for worker in (2 * index, 2 * index + 1):
            assert lines_of(result.stdout, f"worker {worker}")[-1] == "sum 4.0"
    if fault == "lock":
        assert "worker 3 (after step 5) is stuck outside of the call" in results[1].stderr
    launcher.expect_nothing_left()
