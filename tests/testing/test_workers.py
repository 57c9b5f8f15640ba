"""The harness: results, failures, time limits, nothing left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.processes import leftover_processes
from tfdml.errors import ConfigError
from tfdml.testing import WorkerError, current_task, run_in_process, run_workers, start_workers


def index_and_array(size):
    return {"task": current_task(), "array": np.full(size, current_task()[1]), "pid": os.getpid()}


def all_reduce_over_devices():
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = float(current_task()[1] + 1)

    @tf.function
    def add():
        context = tf.distribute.get_replica_context
        return strategy.run(lambda: context().all_reduce("sum", tf.constant(index)))

    (total,) = strategy.experimental_local_results(add())
    return float(total), strategy.num_replicas_in_sync, len(tf.config.list_logical_devices("CPU"))


def describe_process():
    import tensorflow as tf

    threads = tf.config.threading
    return {
        "tf_config": os.environ.get("TF_CONFIG"),
        "devices": len(tf.config.list_logical_devices("CPU")),
        "threads": (
            threads.get_intra_op_parallelism_threads(),
            threads.get_inter_op_parallelism_threads(),
        ),
        "marker": os.environ.get("TFDML_TEST_MARKER"),
        "directory": os.getcwd(),
        "backend": os.environ["KERAS_BACKEND"],
    }


def parent_and_its_libraries():
    return os.getppid(), Path(f"/proc/{os.getppid()}/maps").read_text()


def worker_1_raises(directory):
    print(f"hello from {current_task()}")
    os.write(2, b"native line\n")
    printed = Path(directory, "printed")
    if current_task()[1] == 1:
        wait_for(printed)
        raise ValueError("planted")
    printed.touch()
    time.sleep(60)


def worker_1_leaves(status):
    if current_task()[1] == 1:
        print("leaving")
        os._exit(status)
    time.sleep(60)


def worker_1_crashes():
    if current_task()[1] == 1:
        ctypes.string_at(0)
    time.sleep(60)


def a_place_to_hang_at():
    time.sleep(60)


def start_a_child_and_hang(directory):
    child = subprocess.Popen(["sleep", "300"])
    index = current_task()[1]
    partial = Path(directory, f"{index}.partial")
    partial.write_text(f"{os.getpid()} {child.pid}")
    partial.rename(Path(directory, f"{index}.pids"))
    time.sleep(60)


def raise_system_exit(status):
    sys.exit(status)


def clash_once(directory):
    """Fail as TensorFlow does when a port is taken, the first time only."""
    first = Path(directory, str(current_task()[1]))
    if not first.exists():
        first.touch()
        raise RuntimeError("Could not start gRPC server")
    return os.environ["TF_CONFIG"]


def test_results_come_back_in_task_order():
    first, second, third = run_workers(index_and_array, num_workers=3, args=(4,))
    assert [r["task"] for r in (first, second, third)] == [("worker", i) for i in range(3)]
    np.testing.assert_array_equal(third["array"], [2, 2, 2, 2])
    assert len({r["pid"] for r in (first, second, third)} | {os.getpid()}) == 4
    assert leftover_processes() == []


def test_workers_are_forked_from_one_parent_that_has_imported_tensorflow():
    first, libraries = run_in_process(parent_and_its_libraries)
    second, _ = run_in_process(parent_and_its_libraries)
    assert first == second
    assert "libtensorflow_framework" in libraries


def test_jobs_of_other_types():
    with start_workers(index_and_array, jobs={"chief": 1, "worker": 2, "ps": 1}, args=(1,)) as all_:
        tasks = [r["task"] for r in all_.wait()]
    assert tasks == [("chief", 0), ("worker", 0), ("worker", 1), ("ps", 0)]


def test_workers_form_a_cluster_and_have_devices():
    results = run_workers(all_reduce_over_devices, devices_per_worker=2)
    # A multi-worker strategy takes one virtual device per worker; the cluster lists all four.
    assert results == [(3.0, 2, 4)] * 2


def test_fresh_process_has_no_cluster_and_takes_the_callers_surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDML_TEST_MARKER", "caller")
    seen = run_in_process(describe_process, num_virtual_devices=3, threads=2)
    assert seen == {
        "tf_config": None,
        "devices": 3,
        "threads": (2, 2),
        "marker": "caller",
        "directory": str(tmp_path),
        "backend": "tensorflow",
    }
    monkeypatch.delenv("TFDML_TEST_MARKER")
    assert run_in_process(describe_process)["marker"] is None
    assert run_in_process(describe_process, env={"TFDML_TEST_MARKER": "x"})["marker"] == "x"


def test_failure_shows_traceback_and_every_output(tmp_path):
    with pytest.raises(WorkerError) as raised:
        run_workers(worker_1_raises, args=(str(tmp_path),))
    message = str(raised.value)
    assert message.startswith("worker 1 failed first: it raised ValueError: planted")
    assert message.count("Traceback (most recent call last)") == 1
    assert 'raise ValueError("planted")' in message
    for index in (0, 1):
        assert f"hello from ('worker', {index})" in message
    assert message.count("native line") == 2
    assert leftover_processes() == []


def test_exit_and_crash_do_not_hang_the_harness():
    with pytest.raises(WorkerError, match=r"worker 1 failed first: it exited with status 7") as e:
        run_workers(worker_1_leaves, args=(7,))
    assert "leaving" in str(e.value)
    with pytest.raises(WorkerError, match=r"worker 1 failed first: it was killed by SIGSEGV") as e:
        run_workers(worker_1_crashes)
    assert "Segmentation fault" in str(e.value)


def test_time_limit_shows_where_it_hangs():
    with pytest.raises(WorkerError, match="did not finish within 1 seconds") as raised:
        run_workers(a_place_to_hang_at, timeout_seconds=1)
    assert str(raised.value).count("in a_place_to_hang_at") == 2
    assert leftover_processes() == []


def test_kill_one_worker_and_end_the_rest_with_their_children(tmp_path):
    with start_workers(start_a_child_and_hang, args=(str(tmp_path),)) as workers:
        pids = [pid for i in (0, 1) for pid in wait_for_pids(tmp_path / f"{i}.pids")]
        workers[1].kill(signal.SIGKILL)
        with pytest.raises(WorkerError, match="worker 1 failed first: it was killed by SIGKILL"):
            workers.wait()
        assert workers[1].exit_code == -signal.SIGKILL
        assert not workers[0].finished
        workers[0].kill(signal.SIGTERM)
        with pytest.raises(WorkerError, match=r"worker 0 failed, not as the first: .* SIGTERM"):
            workers.wait_for(0)
    assert_gone(pids)


def test_killed_test_process_leaves_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from tests.testing.test_workers import start_a_child_and_hang
            from tfdml.testing import run_workers

            if __name__ == "__main__":
                run_workers(start_a_child_and_hang, args=({str(tmp_path)!r},))
            """
        )
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": root}, cwd=root
    )
    try:
        pids = [pid for i in (0, 1) for pid in wait_for_pids(tmp_path / f"{i}.pids")]
        helpers = [p.pid for p in psutil.Process(parent.pid).children()]
    finally:
        parent.kill()
        parent.wait()
    assert_gone(pids + helpers)


@pytest.mark.slow
def test_an_open_group_does_not_outlive_its_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from tests.testing.test_workers import start_a_child_and_hang, wait_for_pids
            from tfdml.testing import start_workers
            from pathlib import Path

            if __name__ == "__main__":
                start_workers(start_a_child_and_hang, 1, args=({str(tmp_path)!r},))
                wait_for_pids(Path({str(tmp_path)!r}, "0.pids"))
            """
        )
    )
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": root},
        cwd=root,
        timeout=120,
        check=True,
    )
    assert_gone(wait_for_pids(tmp_path / "0.pids"))


def test_system_exit_is_a_return_when_the_status_is_zero():
    assert run_in_process(raise_system_exit, args=(0,)) is None
    with pytest.raises(WorkerError, match="SystemExit: 3"):
        run_in_process(raise_system_exit, args=(3,))


def test_port_clash_starts_again_on_new_ports(tmp_path):
    first, _ = run_workers(clash_once, args=(str(tmp_path),))
    assert "worker" in first


def test_wrong_arguments_are_refused():
    with pytest.raises(ConfigError, match="top of a module"):
        run_workers(lambda: None)
    with pytest.raises(ConfigError, match=r"number of worker tasks must be .* got 0"):
        run_workers(index_and_array, num_workers=0, args=(1,))
    with pytest.raises(ConfigError, match="KERAS_BACKEND"):
        run_in_process(describe_process, env={"KERAS_BACKEND": "jax"})


def wait_for(path: Path) -> None:
    """Until a file is there; the test runner's time limit bounds the wait."""
    while not path.exists():
        time.sleep(0.05)


def wait_for_pids(path: Path) -> list[int]:
    """The two pids that `start_a_child_and_hang` writes."""
    wait_for(path)
    return [int(pid) for pid in path.read_text().split()]


def assert_gone(pids: list[int]) -> None:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=10)
    alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert alive == []
