"""What a monitored training leaves behind, and that it trains what it would have trained without."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.monitoring import jobs
from tfdml.monitoring.json_lines import read_all
from tfdml.testing import run_in_process, run_workers

SETTINGS = {"train": {"epochs": 3, "seed": None}, "model": {"hidden": [1, 2]}}


def tags(directory: Path):
    """Plugin -> tags of one run, and tag -> text."""
    import tensorflow as tf

    found, texts = {}, {}
    for file in directory.glob("events.out.tfevents.*"):
        for raw in tf.data.TFRecordDataset(str(file)):
            for value in tf.compat.v1.Event.FromString(raw.numpy()).summary.value:
                plugin = value.metadata.plugin_data.plugin_name or "scalars"
                found.setdefault(plugin, set()).add(value.tag)
                if plugin == "text":
                    texts[value.tag] = tf.make_ndarray(value.tensor).item().decode()
    return found, texts


def test_one_process(tmp_path):
    options = {
        "settings": SETTINGS,
        "histograms": True,
        "images": jobs.shown,
        "tokens_per_example": 16,
    }
    making = {"global_clipnorm": 0.5}
    seen = run_in_process(jobs.fit, (str(tmp_path),), {"making": making, **options})
    unseen = run_in_process(jobs.fit, ("",), {"making": making})
    assert seen == unseen, "the same bits"

    train, _ = tags(tmp_path / "train")
    validation, _ = tags(tmp_path / "validation")
    whole, texts = tags(tmp_path)
    assert validation["scalars"] == {"loss", "accuracy"} < train["scalars"], "in one chart"
    assert train["scalars"] >= {
        "within_epoch/loss",
        "optimizer/learning_rate",
        "optimizer/gradient_norm",
        "optimizer/clip_rate",
        "throughput/examples_per_second",
        "throughput/tokens_per_second",
        "throughput/steps_per_second",
        "memory/worker 0",
        "anatomy/worker 0/computing",
        "anatomy_stacked/worker 0/6 unexplained",
        "update_ratio/sequential/dense/kernel",
    }
    assert "weights/sequential/dense/kernel" in train["histograms"]
    assert train["custom_scalars"]
    assert whole["hparams"] and whole["images"] == {"predictions"}
    assert "train.epochs: 3" in texts["config"] and "model.hidden" in texts["config"]
    assert "| worker 0 |" in texts["anatomy"]

    lines = read_all(tmp_path)["worker 0"]
    kinds = [line["kind"] for line in lines]
    assert kinds[:2] == ["started", "settings"] and kinds[-1] == "ended"
    epochs = [line for line in lines if line.get("scope") == "epoch"]
    assert [e["values"]["loss"] for e in epochs if e["split"] == "train"] == seen["loss"]
    assert [e["values"]["loss"] for e in epochs if e["split"] == "validation"] == seen["val_loss"]
    assert [e["step"] for e in epochs if e["split"] == "train"] == [12, 24, 36]
    measured = [line for line in lines if "gradient_norm" in line.get("values", {})]
    assert [line["step"] for line in measured] == [8, 16, 24, 32]
    assert all(0 <= line["values"]["clip_rate"] <= 1 for line in measured)
    assert [line["step"] for line in lines if line["kind"] == "anatomy"] == [16, 24, 32]


@pytest.mark.slow
@pytest.mark.parametrize(
    "making",
    [
        {"devices": 2},
        {"devices": 2, "gradient_accumulation_steps": 2},
        {"devices": 2, "loss_scale": "dynamic", "clipnorm": 0.5},
        {"devices": 2, "batch": 33},
        {"devices": 2, "compression": "int8"},
        {"at_once": 1},
        {"at_once": 50},
        {"compiling": {"jit_compile": True}},
        {"compiling": {"run_eagerly": True}},
        {"gradient_accumulation_steps": 4, "clipvalue": 0.01},
    ],
    ids=str,
)
def test_it_trains_the_same(tmp_path, making):
    strategy = "mirrored" if "devices" in making else "one_device"
    options = {"making": making, "strategy_name": strategy}
    devices = making.get("devices", 1)
    seen = run_in_process(
        jobs.fit, (str(tmp_path),), options, num_virtual_devices=devices, timeout_seconds=200
    )
    unseen = run_in_process(
        jobs.fit, ("",), options, num_virtual_devices=devices, timeout_seconds=200
    )
    assert seen == unseen
    lines = read_all(tmp_path)["worker 0"]
    anatomies = [line for line in lines if line["kind"] == "anatomy"]
    assert anatomies or making.get("at_once") == 50, "of every second execution and later"
    for anatomy in anatomies:
        (task,) = anatomy["tasks"]
        assert task["parts"]["computing"] > 0 and task["parts"]["input"] > 0
    ratios = [
        v for line in lines for n, v in line.get("values", {}).items() if n.startswith("update")
    ]
    if "gradient_accumulation_steps" not in making:
        assert any(ratios) or not anatomies


@pytest.mark.slow
def test_every_writer_that_fails_lets_training_go_on(tmp_path):
    """A port that is taken, and a model directory that is a file."""
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        history = run_in_process(
            jobs.fit,
            (str(blocked / "below"),),
            {"metrics_port": port, "mlflow": "local"},
        )
    assert len(history["loss"]) == jobs.EPOCHS


@pytest.mark.slow
def test_mlflow_holds_the_run(tmp_path):
    pytest.importorskip("mlflow")
    run_in_process(jobs.fit, (str(tmp_path),), {"mlflow": "local", "settings": SETTINGS})
    import os

    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    client = MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name(tmp_path.name)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "3"
    assert {"loss", "val_loss", "val_accuracy", "examples_per_second"} <= set(run.data.metrics)
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [12, 24, 36]


@pytest.mark.slow
def test_two_workers_each_have_a_file_and_the_chief_the_rest(tmp_path):
    options = {"images": jobs.shown, "making": {"compression": "int8", "width": 64}}
    first, second = run_workers(jobs.fit, 2, (str(tmp_path), "multi_worker"), options)
    assert first == second
    lines = read_all(tmp_path)
    assert sorted(lines) == ["worker 0", "worker 1"]
    assert {line["kind"] for line in lines["worker 1"]} == {"started", "scalars", "ended"}
    last = [line for line in lines["worker 0"] if line.get("scope") == "epoch"][-2]
    assert {"wire_bytes_per_step", "compression_ratio", "residual_norm"} <= set(last["values"])
    anatomy = [line for line in lines["worker 0"] if line["kind"] == "anatomy"][-1]
    assert [task["task"] for task in anatomy["tasks"]] == ["worker 0", "worker 1"]
    assert tags(tmp_path)[0]["images"] == {"predictions"}
