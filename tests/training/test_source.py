"""Training on a Source is training on its batches, however many replicas and tasks share them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.source_runs import (
    BATCH,
    ROWS,
    from_the_middle,
    predictions,
    refusals,
    with_keras,
    with_trainer,
    write_data,
)
from tfdml.data.order import Order, Slice
from tfdml.testing import run_in_process, run_workers

EPOCHS = 2
# 46 rows: batches of 8 leave 6, batches of 9 leave 1, so that slices are empty; 23 leaves none.
VARIANTS = {
    "6 rows left": {"global_batch_size": 8},
    "1 row left": {"global_batch_size": 9},
    "no row left": {"global_batch_size": 23},
    "windows": {
        "global_batch_size": 8,
        "shuffle": "shards",
        "shard_sizes": (20, 19, 7),
        "window_shards": 2,
    },
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("data")
    write_data(str(directory))
    return str(directory)


def equal(result, expected) -> None:
    for value, wanted in zip(result["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9)
    for name, wanted in expected["history"].items():
        assert result["history"][name] == pytest.approx(wanted, rel=1e-6)
    assert result["evaluation"] == pytest.approx(expected["evaluation"], rel=1e-6)


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=[] if v == "1 row left" else pytest.mark.slow) for v in VARIANTS],
)
def test_every_replica_counts_every_record_once(directory, variant):
    order = VARIANTS[variant]
    expected = run_in_process(with_keras, (directory, EPOCHS), order)
    equal(run_in_process(with_trainer, (directory, EPOCHS, "mirrored", 3), order), expected)
    several = {"steps_per_execution": 4}
    for result in run_workers(
        with_trainer, 2, (directory, EPOCHS, "multi_worker"), order | several
    ):
        equal(result, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "devices"), [("mirrored", 3), ("multi_worker", None)])
def test_predictions_come_in_the_order_of_the_records(directory, strategy, devices):
    workers = 2 if devices is None else 1
    for found, fewer, expected in run_workers(
        predictions, workers, (directory, strategy, devices), timeout_seconds=200
    ):
        assert len(found) == ROWS and len(fewer) == ROWS - ROWS % BATCH
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        np.testing.assert_allclose(fewer, expected[: len(fewer)], rtol=1e-12)


def batches_of(log: Path) -> set[tuple[int, ...]]:
    """What a task has read: also a little of what comes after the end."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return {tuple(map(int, line.split())) for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_tasks_together_read_the_list_of_ids_of_each_step(directory, workers, tmp_path):
    order = Order(ROWS, BATCH, seed=5)
    arguments = (directory, EPOCHS, "multi_worker" if workers > 1 else "one_device")
    run_workers(with_trainer, workers, arguments, {"log": str(tmp_path)}, timeout_seconds=300)
    read = [batches_of(tmp_path / str(task)) for task in range(workers)]
    for epoch in range(EPOCHS):
        for step in range(order.steps_per_epoch):
            ids, union = order.record_ids(epoch, step).tolist(), []
            for task in range(workers):
                start, size = Slice(task, 1, workers).rows(len(ids))
                part = tuple(ids[start : start + size])
                assert part in read[task]
                union += part
            assert union == ids


@pytest.mark.slow
def test_an_epoch_has_its_own_batches_wherever_training_begins(directory, tmp_path):
    order = Order(ROWS, BATCH, seed=5)
    steps = order.steps_per_epoch
    whole = run_in_process(with_trainer, (directory, 2, "one_device"), {"log": str(tmp_path)})
    for name, fit, first in (
        ("second epoch", {"initial_epoch": 1}, steps),
        ("epochs of 4 steps", {"initial_epoch": 2, "steps_per_epoch": 4}, 8),
    ):
        log = tmp_path / name
        log.mkdir()
        arguments = (directory, fit["initial_epoch"] + 1, "one_device")
        run_in_process(with_trainer, arguments, {"log": str(log), "fit": fit})
        read = batches_of(log / "0")
        expected = [tuple(order.record_ids(*divmod(first + i, steps))) for i in range(4)]
        assert set(expected) <= read
        before = {tuple(order.record_ids(*divmod(i, steps))) for i in range(first)}
        assert not before & read
    assert len(whole["history"]["loss"]) == 2


@pytest.mark.slow
def test_training_can_go_on_in_the_middle_of_an_epoch(directory, tmp_path):
    order = Order(ROWS, BATCH, seed=5)
    steps = order.steps_per_epoch
    assert run_in_process(from_the_middle, (directory, str(tmp_path))) == list(range(2, steps))
    read = batches_of(tmp_path / "after" / "0")
    assert {tuple(order.record_ids(1, step)) for step in range(2, steps)} <= read
    assert not {tuple(order.record_ids(1, step)) for step in range(2)} & read


@pytest.mark.slow
def test_what_is_wrong_with_data_is_one_sentence(tmp_path):
    write_data(str(tmp_path))
    fit, evaluate = run_in_process(refusals, (str(tmp_path),))
    assert fit == evaluate
    assert fit.startswith(
        f"{tmp_path}/x-train.tfrecord-00001-of-00003: record 1 at byte 72 does not"
    )
