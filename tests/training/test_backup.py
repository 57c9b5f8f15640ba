"""A job that is killed goes on after its last whole epoch, with the result of a job that was not."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tests.training.backup_runs import load_parts, train
from tfdml.checkpoint import Checkpointer, Position
from tfdml.errors import ConfigError
from tfdml.testing import WorkerError, run_workers, start_workers

TOPK = {"name": "topk", "start_step": 0}


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


def test_residuals_go_on_where_they_were(tmp_path):
    undisturbed = run_workers(train, 2, (str(tmp_path / "a"), None, TOPK))
    history = undisturbed[0]["history"]
    assert history == undisturbed[1]["history"]
    assert history["residual_norm"][0] > 0 and history["compression_ratio"][0] > 2
    folder = tmp_path / "b"
    with (
        start_workers(train, 2, (str(folder), 2, TOPK), timeout_seconds=100) as workers,
        pytest.raises(WorkerError, match="worker 1 failed first"),
    ):
        workers.wait_for(1)
    restarted = run_workers(train, 2, (str(folder), None, TOPK))
    assert restarted[0]["epochs"] == [2, 3]
    assert restarted[0]["hash"] == undisturbed[0]["hash"] == restarted[1]["hash"]
    names = sorted(path.suffix for path in folder.iterdir())
    assert names == [".bin", ".bin", ".json", ".json", *[".npz"] * 4]


def test_three_workers_take_over_the_residuals_of_two(tmp_path):
    run_workers(train, 2, (str(tmp_path), None, TOPK))
    parts = [dict(np.load(path)) for path in sorted(tmp_path.glob("snapshot-*20.task*.npz"))]
    (key,) = [key for key in parts[0] if key.endswith("residual")]
    result = run_workers(load_parts, 3, (parts,))
    sums = sum(part[key].sum(axis=0) for part in parts)
    for task in result:
        np.testing.assert_allclose(task[key][0], sums / 3, rtol=1e-6)


def test_a_damaged_part_makes_the_snapshot_damaged(tmp_path, caplog):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    checkpointer = Checkpointer(tmp_path)
    for epoch in (1, 2):
        position = Position(epoch, 0, epoch)
        for task in (0, 1):
            checkpointer.save_part({"a/residual": np.full((1, 9), epoch)}, position, task)
        checkpointer.save(model, position, num_parts=2)
    position, parts = checkpointer.restore(model)
    assert position.epoch == 2 and [part["a/residual"][0, 0] for part in parts] == [2, 2]
    damaged = next(tmp_path.glob("*2.task1.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    position, parts = checkpointer.restore(model)
    assert position.epoch == 1 and len(parts) == 2
    damaged.unlink()
    assert checkpointer.restore(model)[0].epoch == 1
    assert "is damaged" in caplog.text
    checkpointer.delete()
    assert not list(tmp_path.iterdir())


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
