"""A job that is killed at any step goes on from its newest snapshot, and ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data.remote.servers import s3_server
from tests.training.backup_runs import (
    EPOCHS,
    STEPS,
    load_parts,
    make_model,
    train,
    train_on_a_disk_that_fills_up,
)
from tests.training.source_runs import write_data
from tfdml.checkpoint import load_weights
from tfdml.errors import ConfigError
from tfdml.testing import WorkerError, faults, run_in_process, run_workers, start_workers

ALONE = {"strategy_name": "one_device", "dying_task": 0}
INT8 = {"name": "int8"}
TWO = {"strategy_name": "mirrored", "num_virtual_devices": 2, "dying_task": 0}


def killed(directory: Path, workers: int, after: int, settings: dict[str, Any]) -> None:
    """One start that is killed after so many steps."""
    dying = settings.get("dying_task", 1)
    with (
        start_workers(train, workers, (str(directory), after), settings) as group,
        pytest.raises(WorkerError, match=r"SIGKILL|failed first"),
    ):
        group.wait_for(dying)


def same(result: dict[str, Any], undisturbed: dict[str, Any]) -> None:
    for name in ("hash", "history", "iterations", "random"):
        assert result[name] == undisturbed[name], name


def check_restarts(tmp_path: Path, workers: int, moments: tuple[int, ...], **settings: Any) -> None:
    """Kill a job after each of `moments` steps, start it again, and compare with one that was not killed."""
    undisturbed = run_workers(train, workers, (str(tmp_path / "whole"),), settings)
    begun = []
    for after in moments:
        directory = tmp_path / f"killed-{after}"
        killed(directory, workers, after, settings)
        again = run_workers(train, workers, (str(directory),), settings)
        for result in again:
            same(result, undisturbed[0])
        begun.append(again[0]["steps"][0])
        rows = [Path(f"{each}.csv").read_text() for each in (tmp_path / "whole", directory)]
        assert rows[0] == rows[1], "what a logger wrote before is kept, and nothing is there twice"
    assert max(begun) > (0, 0), "none was saved before it was killed"


def test_a_plain_pipeline_goes_on_in_the_middle_of_its_shuffled_epoch(tmp_path):
    check_restarts(tmp_path, 1, (9,), data="shuffled", **ALONE)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["shuffled", "in order", "source"])
def test_one_device_at_many_moments(tmp_path, data):
    settings = {"data": data}
    if data == "source":
        write_data(str(tmp_path))
        settings = {"source": str(tmp_path)}
    check_restarts(tmp_path, 1, (6, 10, 12, 13, 17, 18), **ALONE, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"data": "shuffled", "compression": INT8}, id="int8"),
        pytest.param({"precision": "mixed_float16", "steps_per_execution": 2}, id="float16"),
        pytest.param({"compression": {"name": "topk", "start_step": 0}}, id="topk"),
        pytest.param({"save_freq": "1 epoch", "dying_task": 0}, id="chief, epochs"),
        pytest.param({"optimizer_name": "lars", "precision": "mixed_float16"}, id="lars, float16"),
        pytest.param({"optimizer_name": "lamb"}, id="lamb"),
    ],
)
def test_two_workers(tmp_path, settings):
    at_once = settings.get("steps_per_execution", 1)
    check_restarts(tmp_path, 2, (9 // at_once, 16 // at_once), **settings)


@pytest.mark.slow
def test_two_virtual_devices(tmp_path):
    check_restarts(tmp_path, 1, (9,), **TWO, data="in order")


@pytest.mark.slow
def test_data_without_a_number_of_batches_is_read_past_with_a_warning(tmp_path, capfd):
    settings = {"data": "from python", **ALONE}
    check_restarts(tmp_path, 1, (9,), **settings)
    assert "reading past the 4 steps of the epoch" in capfd.readouterr().out


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_worker_ends_all_of_them_saved(tmp_path, signum):
    with start_workers(train, 2, (str(tmp_path / "job"), 9), {"signum": signum}) as workers:
        for number in (0, 1):
            with pytest.raises(WorkerError) as error:
                workers.wait_for(number)
            assert ("Preempted: 42" if signum == signal.SIGTERM else "Interrupt") in str(
                error.value
            )
    again = run_workers(train, 2, (str(tmp_path / "job"),))
    # The signal came after step 9, one execution told all tasks, and no step is trained twice.
    assert again[0]["steps"][0] == again[1]["steps"][0] == divmod(10, STEPS)
    assert again[0]["steps"][-1] == (EPOCHS - 1, STEPS - 1)


@pytest.mark.slow
def test_no_step_is_repeated_after_sigterm(tmp_path):
    settings = {"signum": signal.SIGTERM, "compression": INT8, "save_freq": 1000}
    undisturbed = run_workers(train, 2, (str(tmp_path / "whole"),), settings)
    with start_workers(train, 2, (str(tmp_path / "job"), 9), settings) as workers:
        for number in (0, 1):
            with pytest.raises(WorkerError, match="42"):
                workers.wait_for(number)
    for result in run_workers(train, 2, (str(tmp_path / "job"),), settings):
        same(result, undisturbed[0])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 3)])
def test_another_number_of_workers(tmp_path, before, after):
    """The ids of each step are those of `tests/training/test_source.py` whatever the number; here the loss."""
    write_data(str(tmp_path))
    settings = {"source": str(tmp_path), "same_on_any_number": True}
    undisturbed = run_workers(train, before, (str(tmp_path / "whole"),), settings)[0]
    directory = tmp_path / "job"
    killed(directory, before, 11, settings)
    again = run_workers(train, after, (str(directory),), settings)
    assert again[0]["hash"] == again[-1]["hash"]
    assert again[0]["steps"][0] > (0, 0)
    for name in ("loss", "accuracy"):
        expected = pytest.approx(undisturbed["history"][name], rel=1e-4)
        assert again[0]["history"][name] == expected, name


@pytest.mark.slow
def test_the_end_is_saved_and_starting_again_changes_nothing(tmp_path):
    settings = {**ALONE, "save_freq": 4}
    first = run_in_process(train, (str(tmp_path / "job"),), settings)
    again = run_in_process(train, (str(tmp_path / "job"),), settings)
    assert again["steps"] == [] and again["hash"] == first["hash"]
    model = make_model()
    assert load_weights(model, tmp_path / "job").global_step == EPOCHS * STEPS


def test_delete_checkpoint_leaves_nothing(tmp_path):
    run_in_process(train, (str(tmp_path / "job"),), {**ALONE, "delete": True})
    assert not list((tmp_path / "job").glob("snapshot-*"))


@pytest.mark.slow
def test_three_workers_take_over_the_residuals_of_two(tmp_path):
    topk = {"name": "topk", "start_step": 0}
    run_workers(train, 2, (str(tmp_path / "job"),), {"compression": topk})
    result = run_workers(load_parts, 3, (str(tmp_path / "job"),))
    for key in result[0]["sums"]:
        for task in result:
            np.testing.assert_allclose(task["own"][key][0], task["sums"][key] / 3, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk takes root")
def test_a_full_disk_costs_nothing_but_the_saves(tmp_path, capfd):
    with faults.small_disk(tmp_path / "disk", 4 * 2**20) as disk:
        result = run_in_process(train_on_a_disk_that_fills_up, (str(disk), str(tmp_path / "logs")))
        output = capfd.readouterr().out
        newest = load_weights(make_model(), disk)
    whole = run_in_process(train, (str(tmp_path / "whole"),), {**ALONE, "calm": True})
    assert result["hash"] == whole["hash"], "training went on as if nothing had happened"
    told = [line for line in output.splitlines() if "was not saved" in line]
    assert ["step 8" in told[0], "step 12" in told[1], len(told)] == [True, True, 2]
    assert all("no space left on device" in line and "Training goes on." in line for line in told)
    assert [name.split("-")[1] for name in result["found"][13] if "snapshot" in name] == [
        "000000000004"
    ]
    assert result["history"]["failed_saves"] == [1.0, 2.0]
    assert newest.global_step == EPOCHS * STEPS
    assert scalars(tmp_path / "logs", "epoch_failed_saves") == [1.0, 2.0]


def scalars(log_dir: Path, tag: str) -> list[float]:
    (file,) = (log_dir / "train").glob("events.*")
    events = tf.compat.v1.train.summary_iterator(str(file))
    values = [value for event in events for value in event.summary.value]
    return [float(tf.make_ndarray(value.tensor)) for value in values if value.tag == tag]


@pytest.mark.slow
def test_when_no_snapshot_is_whole_training_does_not_begin_anew(tmp_path):
    run_in_process(train, (str(tmp_path / "job"),), ALONE)
    for part in (tmp_path / "job").glob("snapshot-*/task-*"):
        faults.flip_bit(part, 8 * (part.stat().st_size // 2))
    with pytest.raises(WorkerError, match="holds 2 snapshots and none is whole"):
        run_in_process(train, (str(tmp_path / "job"),), ALONE)


@pytest.mark.slow
def test_snapshots_behind_a_url(tmp_path):
    (tmp_path / "s3").mkdir()
    with s3_server(tmp_path / "s3") as server:
        url = server.url("backup")
        settings = {"env": {**server.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}}
        local = {"local": str(tmp_path / "job")}
        undisturbed = run_workers(train, 2, (str(tmp_path / "whole"),))
        with (
            start_workers(train, 2, (url, 12), local, **settings) as group,
            pytest.raises(WorkerError, match="failed first"),
        ):
            group.wait_for(1)
        shutil.rmtree(tmp_path / "cache")  # another machine, which has nothing but the URL
        again = run_workers(train, 2, (url,), local, **settings)
    same(again[0], undisturbed[0])
    assert again[0]["steps"][0] > (0, 0)


@pytest.mark.parametrize(
    "frequency", [0, -1, True, "often", "1.5 steps", "0 seconds", "epochs", 2.5, None]
)
def test_a_frequency_that_is_none_is_refused(frequency):
    import tfdml

    with pytest.raises(ConfigError, match="`save_freq` must be 'epoch', a number of steps"):
        tfdml.callbacks.BackupAndRestore("somewhere", save_freq=frequency)


def test_no_directory_is_refused():
    import tfdml

    with pytest.raises(ConfigError, match="`backup_dir` must be a directory"):
        tfdml.callbacks.BackupAndRestore("")
    assert not os.path.exists("somewhere")
