"""Training on parameter servers: nothing is lost, counted twice, or known only roughly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.parameter_server_runs import constant_gradients, refusals, train
from tests.training.source_runs import ROWS, write_data
from tfdml.data.order import Order
from tfdml.testing import WorkerError, start_workers

JOBS = {"chief": 1, "worker": 2, "ps": 2}
STEPS = 6  # of an epoch of 46 rows in batches of 8


def run(function: Any, *args: Any, jobs: dict[str, int] = JOBS, **kwargs: Any) -> Any:
    with start_workers(function, jobs=jobs, args=args, kwargs=kwargs, timeout_seconds=200) as tasks:
        return tasks.wait_for(0)


def check_constant_gradients(result: dict[str, Any], name: str, steps: int) -> None:
    rate, gradient = 0.25, 0.5
    assert result["iterations"] == steps
    assert set(result["counts"]) == {steps * 8.0}
    if name == "sgd":
        assert result["weights"] == [-steps * rate * gradient] * 4
    else:
        assert result["slots"][0] == [steps * gradient**2] * 4


@pytest.mark.parametrize("name", ["sgd"])
def test_no_update_is_lost(name):
    check_constant_gradients(run(constant_gradients, name, 300), name, 300)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_no_update_is_lost_ten_times_in_a_row(name):
    for _ in range(10):
        check_constant_gradients(run(constant_gradients, name, 300), name, 300)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("data")
    write_data(str(directory))
    return str(directory)


def check_training(result: dict[str, Any], epochs: int) -> None:
    assert result["iterations"] == epochs * STEPS
    assert len(result["history"]["loss"]) == epochs
    assert result["evaluation"]["accuracy"] == pytest.approx(result["accuracy"], rel=1e-6)
    assert result["history"]["val_loss"][-1] == pytest.approx(result["evaluation"]["loss"])
    np.testing.assert_allclose(result["predicted"], result["expected"], rtol=1e-5, atol=1e-6)
    assert np.abs(result["moving"]).sum() > 0
    assert all(0 <= mean < 8 for mean in result["history"]["staleness_mean"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="source"),
        pytest.param({"plain": True}, id="batches"),
        pytest.param({"compression": "int8", "pull_dtype": "bfloat16"}, id="int8 bfloat16"),
        pytest.param({"compression": {"name": "topk", "start_step": 5}}, id="topk"),
    ],
)
def test_metrics_are_exact(directory, settings):
    result = run(train, directory, 3, **settings)
    check_training(result, 3)
    dense = 4 * (5 * 64 + 64 + 2 * 64 + 64 * 64 + 64 + 64 * 3 + 3)
    if "compression" in settings:  # of the one kernel that is large enough
        assert dense - 4 * 64 * 64 < result["push_bytes"] < dense - 2 * 64 * 64
    else:
        assert result["push_bytes"] == dense


@pytest.mark.slow
def test_workers_read_every_record_of_an_epoch_once(directory, tmp_path):
    result = run(train, directory, 2, log=str(tmp_path / "ids"))
    read = [tuple(map(int, line.split())) for line in (tmp_path / "ids").read_text().splitlines()]
    order = Order(ROWS, 8, seed=5)
    expected = [tuple(order.record_ids(e, s).tolist()) for e in range(2) for s in range(STEPS)]
    assert sorted(read) == sorted(expected)
    assert result["iterations"] == 2 * STEPS


@pytest.mark.slow
def test_staleness_is_in_tensorboard(directory, tmp_path):
    run(train, directory, 2, monitoring=str(tmp_path))
    (events,) = (tmp_path / "train").glob("events.*")
    histograms = [
        tf.make_ndarray(value.tensor)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "staleness"
    ]
    counts = [histogram[:, 2].sum() for histogram in histograms]
    assert counts == [STEPS, 2 * STEPS], "every update so far"


@pytest.mark.slow
def test_a_job_that_was_told_to_stop_goes_on(directory, tmp_path):
    backup = str(tmp_path / "backup")
    with pytest.raises(WorkerError, match="Preempted: 42"):
        run(train, directory, backup=backup, stop_after=4, log=str(tmp_path / "ids"))
    before = len((tmp_path / "ids").read_text().splitlines())
    result = run(
        train,
        directory,
        backup=backup,
        log=str(tmp_path / "ids"),
        jobs={"chief": 1, "worker": 2, "ps": 1},
    )
    check_training(result, 3)
    read = (tmp_path / "ids").read_text().splitlines()
    assert len(read) == 3 * STEPS, "no step was made twice, and none left out"
    assert 0 < before < 3 * STEPS


@pytest.mark.slow
def test_what_does_not_work_is_refused(tmp_path: Path):
    messages = run(refusals, jobs={"chief": 1, "worker": 1, "ps": 1})
    assert [message.partition(":")[0] for message in messages] == ["ConfigError"] * 5 + [
        "DataError"
    ]
    for message, part in zip(
        messages,
        [
            "RMSprop",
            "`gradient_accumulation_steps` does not work on parameter servers",
            "`use_ema` does not work on parameter servers",
            "'powersgd' adds up what all workers have at the same step",
            "`pull_dtype` must be one of bfloat16, float16 or None, got 'int8'",
            "a data function on parameter servers has no end that all workers share",
        ],
        strict=True,
    ):
        assert part in message
