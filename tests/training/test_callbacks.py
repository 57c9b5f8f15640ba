"""Keras's callbacks under several tasks."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.callback_runs import (
    evaluate_on_the_chief_only,
    keras_backup_on_two_tasks,
    keras_writers_and_deciders,
    stop_on_worker_1_only,
)
from tfdml.testing import run_workers, start_workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("callbacks")


@pytest.fixture(scope="module")
def tasks(folder):
    return run_workers(keras_writers_and_deciders, 2, (str(folder),), timeout_seconds=200)


def test_writers_write_on_the_chief_and_nowhere_else(tasks):
    chief, other = tasks
    assert other["files"] == []
    written = {name.split("/")[0] for name in chief["files"]}
    assert written == {"model.keras", "w.weights.h5", "log.csv", "logs"}
    assert any("logs/train/events" in name for name in chief["files"])
    assert any("logs/validation/events" in name for name in chief["files"])


def test_every_task_sees_the_same_logs_and_decides_the_same(tasks):
    chief, other = tasks
    assert chief["seen"] == other["seen"]
    assert chief["history"] == other["history"]
    assert chief["hooks"] == other["hooks"]
    assert chief["learning_rate"] == other["learning_rate"] == pytest.approx(0.05 * 0.1**4)
    # EarlyStopping: the first epoch is the best one, and patience is 4.
    assert [epoch for epoch, _ in chief["seen"]] == [0, 1, 2, 3, 4]
    assert chief["hooks"] == ["test_begin"] * 5 + ["train_end"]
    for value, same in zip(chief["weights"], other["weights"], strict=True):
        np.testing.assert_array_equal(value, same)


def test_saved_models_load_in_a_process_that_has_no_tfdml(tasks, folder):
    # A real process of its own: the forked workers have tfdml in them.
    program = (
        "import pickle, sys, importlib.util\n"
        "spec = importlib.util.spec_from_file_location('runs', sys.argv[1])\n"
        "runs = importlib.util.module_from_spec(spec)\n"
        "sys.modules['tfdml'] = None  # importing it fails\n"
        "spec.loader.exec_module(runs)\n"
        "del sys.modules['tfdml']\n"
        "result = runs.load_without_tfdml(sys.argv[2])\n"
        "pickle.dump(result, open(sys.argv[3], 'wb'))\n"
    )
    source = str(Path(__file__).with_name("callback_runs.py"))
    output = folder / "loaded.pickle"
    subprocess.run(
        [sys.executable, "-c", program, source, str(folder / "task0"), str(output)],
        check=True,
        cwd=folder,
        timeout=120,
    )
    loaded = pickle.loads(output.read_bytes())
    chief = tasks[0]
    assert loaded["modules"] == []
    assert loaded["optimizer"] == "AdamW"
    assert loaded["iterations"] == chief["iterations"] == 20
    # Saved at the end of epoch 5, before the callback after it lowered the rate for the fourth time.
    assert loaded["learning_rate"] == pytest.approx(0.05 * 0.1**3)
    assert all(size > 0 for size in loaded["slots"]), "slots were not restored"
    for value, wanted in zip(loaded["weights"], chief["weights"], strict=True):
        np.testing.assert_array_equal(value, wanted)
    for value, wanted in zip(loaded["from_weights"], chief["weights"], strict=True):
        np.testing.assert_array_equal(value, wanted)
    np.testing.assert_allclose(loaded["prediction"], chief["prediction"], rtol=1e-6)
    assert loaded["trained_on"] == 21


def test_one_task_that_wants_to_stop_stops_all_after_the_same_batch():
    assert run_workers(stop_on_worker_1_only, 2) == [3, 3]


def test_evaluate_in_a_chief_only_callback_is_refused_and_does_not_hang():
    with start_workers(evaluate_on_the_chief_only, 2, timeout_seconds=60) as workers:
        message = workers.wait_for(0)
    assert "Evaluates runs on the chief only and called model.evaluate" in message
    assert "Trainer.evaluate" in message


def test_keras_own_backup_is_refused_with_several_tasks(tmp_path):
    messages = run_workers(keras_backup_on_two_tasks, 2, (str(tmp_path),))
    assert len(set(messages)) == 1
    assert "Use tfdml.callbacks.BackupAndRestore" in messages[0]
