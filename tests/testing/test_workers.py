"""The harness: results, failures, time limits, nothing left behind."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.processes import leftover_processes, wait_for_file
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
        wait_for_file(printed)
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
