"""The record of a run through its life: begun, ended well or not, gone on with, evaluated."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tfdml.cluster import ClusterSpec
from tfdml.config import Arguments, Config, StrategyConfig, TrainConfig, load
from tfdml.data.origin import Origin
from tfdml.errors import ConfigError
from tfdml.runs.keeper import RecordKeeper
from tfdml.runs.record import RunRecord

CLUSTER = ClusterSpec({"worker": ("a:1", "b:1"), "ps": ("c:1",)})
STRATEGY = SimpleNamespace(num_replicas_in_sync=4)
DATA = [Origin("digits", "runs/data/digits", "ab", "manifest", {"train": 9}, "CC0", "a book")]
MODEL = {"name": "m", "parameters": 5, "inputs": "images", "outputs": "logits"}


class Toy(Config):
    strategy: StrategyConfig = StrategyConfig()
    train: TrainConfig = TrainConfig()


def keeper(directory: Path, mode: str = "train_and_evaluate", *overrides: str) -> RecordKeeper:
    arguments = Arguments((), (), False, directory, mode)
    return RecordKeeper(load(Toy, (), overrides), arguments)


def trained(directory: Path, error: BaseException | None = None, *overrides: str) -> RunRecord:
    one = keeper(directory, "train", *overrides)
    one.describe(MODEL, DATA, ["no photographs"])
    one.begin(CLUSTER, STRATEGY)
    one.end(error)
    return RunRecord.read(directory)


def test_a_run_that_ends_well(tmp_path):
    one = keeper(tmp_path)
    one.describe(MODEL, DATA, ["no photographs"])
    assert list(tmp_path.iterdir()) == []  # nothing was run yet
    one.begin(CLUSTER, STRATEGY)
    running = RunRecord.read(tmp_path)
    assert running.shown_status == "running"
    assert running.workers == {"strategy": "one_device", "workers": 2, "replicas": 4, "ps": 1}
    assert running.data[0]["licence"] == "CC0"
    assert running.config["train"]["epochs"] == 12
    assert load(Toy, [tmp_path / "config.yaml"]) == Toy()
    one.report(
        {"accuracy": 0.9}, {"guessing": {"accuracy": 0.1}}, {"label": {"8": {"examples": 3}}}
    )
    one.end(None)
    ended = RunRecord.read(tmp_path)
    assert (ended.status, ended.message, ended.starts) == ("finished", "", 1)
    assert ended.result == {"accuracy": 0.9}
    assert ended.ended >= ended.started > ""
    card = (tmp_path / "model_card.md").read_text()
    assert "| `accuracy` | 0.9000 | 0.1000 |" in card
    assert "Licence: CC0" in card


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("a\nlong story"), "failed", "ValueError: a"),
        (ConfigError("No such thing."), "failed", "ConfigError: No such thing."),
        (RuntimeError(), "failed", "RuntimeError"),
        (SystemExit(1), "failed", "SystemExit: 1"),
        (SystemExit(42), "stopped", ""),  # told to stop, and saved
        (KeyboardInterrupt(), "stopped", ""),
        (SystemExit(0), "finished", ""),
    ],
)
def test_how_it_ended(tmp_path, error, status, message):
    ended = trained(tmp_path, error)
    assert (ended.status, ended.message) == (status, message)
    assert (tmp_path / "model_card.md").exists() == (status == "finished")


def test_a_start_after_a_failure_goes_on_with_the_record(tmp_path):
    first = trained(tmp_path, RuntimeError("x"))
    again = trained(tmp_path, SystemExit(42))
    assert (again.starts, again.started) == (2, first.started)
    assert trained(tmp_path).starts == 3
    # What has finished, or had other settings, was another run.
    assert trained(tmp_path, RuntimeError("x")).starts == 1
    assert trained(tmp_path, None, "train.epochs=3").starts == 1


def test_evaluating_adds_to_the_record_of_the_training(tmp_path):
    before = trained(tmp_path)
    one = keeper(tmp_path, "evaluate", "train.epochs=99")
    one.describe(MODEL, DATA, ["no photographs"])
    one.report({"accuracy": 0.8}, {}, {})
    one.end(None)
    after = RunRecord.read(tmp_path)
    assert after.result == {"accuracy": 0.8}
    assert (after.config, after.started, after.seconds) == (
        before.config,
        before.started,
        before.seconds,
    )
    assert after.evaluated_on == []
    assert "0.8000" in (tmp_path / "model_card.md").read_text()


def test_evaluating_on_other_data_is_told(tmp_path):
    trained(tmp_path)
    one = keeper(tmp_path, "evaluate")
    one.describe(MODEL, [Origin("letters", "elsewhere", "cd", "manifest")], [])
    one.report({"accuracy": 0.3}, {}, {})
    one.end(None)
    after = RunRecord.read(tmp_path)
    assert [each["name"] for each in after.data] == ["digits"]
    assert [each["name"] for each in after.evaluated_on] == ["letters"]
    card = (tmp_path / "model_card.md").read_text()
    assert "On other data than it was trained on: `letters` (elsewhere)." in card


@pytest.mark.parametrize(("mode", "error"), [("predict", None), ("evaluate", ValueError("x"))])
def test_modes_that_change_nothing_write_nothing(tmp_path, mode, error):
    trained(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    one = keeper(tmp_path, mode)
    one.describe(MODEL, [], [])
    one.end(error)
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        ConfigError, match=r"file/m cannot be written: Not a directory\. Give anoth"
    ):
        trained(tmp_path / "file" / "m")
