"""A job that is killed goes on after its last whole epoch, with the result of a job that was not."""

from __future__ import annotations

import json

import pytest

from tests.training.backup_runs import train
from tfdml.errors import ConfigError
from tfdml.testing import WorkerError, run_workers, start_workers


def test_a_killed_job_ends_with_the_weights_of_an_undisturbed_one(tmp_path):
    undisturbed = run_workers(train, 2, (str(tmp_path / "a"),))
    assert undisturbed[0]["epochs"] == [0, 1, 2, 3]
    folder = tmp_path / "b"
    with (
        start_workers(train, 2, (str(folder), 2), timeout_seconds=100) as workers,
        pytest.raises(WorkerError, match="worker 1 failed first"),
    ):
        workers.wait_for(1)
    restarted = run_workers(train, 2, (str(folder),))
    assert restarted[0]["epochs"] == restarted[1]["epochs"] == [2, 3]
    assert restarted[0]["iterations"] == 20
    assert restarted[0]["hash"] == undisturbed[0]["hash"]
    assert restarted[0]["hash"] == restarted[1]["hash"]
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 4, f"two snapshots of two files each, and nothing temporary: {names}"


def test_steps_within_an_epoch_are_refused_for_now():
    import tfdml

    with pytest.raises(ConfigError, match="`save_freq` must be 'epoch', got 7"):
        tfdml.callbacks.BackupAndRestore("somewhere", save_freq=7)


def test_manifest_tells_where_training_stood(tmp_path):
    run_workers(train, 2, (str(tmp_path),))
    newest = sorted(tmp_path.glob("*.json"))[-1]
    assert json.loads(newest.read_text())["position"] == {
        "epoch": 4,
        "step_in_epoch": 0,
        "global_step": 20,
    }
