"""Every message is one sentence that names where the value came from, and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfdml.config import (
    Config,
    MonitoringConfig,
    OptimizerConfig,
    StrategyConfig,
    TrainConfig,
    check_global_batch_size,
    load,
)
from tfdml.errors import ConfigError


class Example(Config):
    strategy: StrategyConfig = StrategyConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def message(*files: Path, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load(Example, files, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_files_override_defaults_and_set_overrides_files(tmp_path):
    first = write(tmp_path / "a.yaml", "train:\n  epochs: 3\n  seed: 7\n")
    second = write(tmp_path / "b.yaml", "train:\n  epochs: 4\n")
    config = load(Example, [first, second], ["train.steps_per_execution=8", "train.epochs=5"])
    assert (config.train.epochs, config.train.seed) == (5, 7)
    assert config.train.steps_per_execution == 8
    assert load(Example, [first, second]).train.epochs == 4
    assert load(Example, [second, first]).train.epochs == 3
    assert load(Example) == Example()


def test_set_reads_yaml_values():
    config = load(
        Example,
        (),
        [
            "optimizer.learning_rate=1e-3",
            "optimizer.global_clipnorm=null",
            "optimizer.loss_scale=dynamic",
            "strategy={name: mirrored, num_virtual_devices: 2}",
        ],
    )
    assert config.optimizer.learning_rate == 0.001
    assert config.optimizer.global_clipnorm is None
    assert config.optimizer.loss_scale == "dynamic"
    assert config.strategy == StrategyConfig(name="mirrored", num_virtual_devices=2)


def test_off_without_quotes_is_the_word():
    class Monitored(Config):
        monitoring: MonitoringConfig = MonitoringConfig()

    assert load(Monitored, (), ["monitoring.on_desync=off"]).monitoring.on_desync == "off"


def test_an_empty_file_and_an_empty_section_change_nothing(tmp_path):
    empty = write(tmp_path / "empty.yaml", "# nothing\n")
    section = write(tmp_path / "section.yaml", "train:\n  # epochs: 3\n")
    assert load(Example, [empty, section]) == Example()


def test_unknown_key_names_file_path_and_nearest_spelling(tmp_path):
    file = write(tmp_path / "c.yaml", "train:\n  epoch: 3\n")
    text = message(file)
    assert str(file) in text
    assert "`train.epoch`" in text
    assert "did you mean `train.epochs`?" in text


def test_unknown_section_names_the_nearest(tmp_path):
    text = message(write(tmp_path / "c.yaml", "optimiser:\n  name: sgd\n"))
    assert "did you mean `optimizer`?" in text


def test_a_key_outside_its_section_is_found():
    assert "did you mean `train.epochs`?" in message(overrides=("epochs=3",))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs=abc", ("a whole number >= 1", "'abc'")),
        ("train.epochs='5'", ("a whole number >= 1", "'5'")),
        ("train.epochs=5.0", ("a whole number >= 1", "5.0")),
        ("train.epochs=true", ("a whole number >= 1", "True")),
        ("train.epochs=0", ("a whole number >= 1", "got 0")),
        ("train.epochs=null", ("a whole number >= 1", "got None")),
        ("optimizer.learning_rate=fast", ("a number > 0", "'fast'")),
        ("optimizer.learning_rate=.nan", ("a number > 0", "nan")),
        ("optimizer.momentum=1", ("a number >= 0 and < 1", "got 1")),
        ("optimizer.loss_scale=big", ("auto, dynamic, a number > 0 or null", "'big'")),
        ("optimizer.global_clipnorm=-1", ("a number > 0 or null", "got -1")),
        ("strategy.num_virtual_devices=two", ("a whole number >= 1 or null", "'two'")),
    ],
)
def test_wrong_value_says_what_is_allowed(override, words):
    text = message(overrides=(override,))
    path = override.partition("=")[0]
    assert text.startswith(f"--set {override}: `{path}` must be ")
    for word in words:
        assert word in text


def test_wrong_type_names_the_file_that_said_it(tmp_path):
    good = write(tmp_path / "good.yaml", "train:\n  epochs: 3\n")
    bad = write(tmp_path / "bad.yaml", "train:\n  epochs: [1]\n")
    text = message(bad, overrides=("train.seed=1",))
    assert text.startswith(f"{bad}: `train.epochs` must be a whole number >= 1, got [1]")
    load(Example, [bad, good])  # what is overridden is not used, so it is not judged


def test_unknown_name_lists_the_known_and_the_nearest():
    text = message(overrides=("strategy.name=mirored",))
    assert "one_device, mirrored, multi_worker, parameter_server or tpu, got 'mirored'" in text
    assert text.endswith("Did you mean mirrored?")


def test_momentum_without_sgd_is_refused():
    text = message(overrides=("optimizer.momentum=0.9",))
    assert text.startswith("--set optimizer.momentum=0.9: optimizer: momentum applies to sgd")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: 5\n", "`train` must be a section"),
        ("- train\n", "a configuration must be a section"),
        ("train: {epochs: 1\n", "line 2: not valid YAML"),
        ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: not valid YAML: the key 'epochs' is given"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, words):
    file = write(tmp_path / "c.yaml", text)
    assert str(file) in message(file)
    assert words in message(file)


def test_missing_file_shows_what_is_there(tmp_path):
    write(tmp_path / "default.yaml", "")
    text = message(tmp_path / "defualt.yaml")
    assert "no such file" in text
    assert "default.yaml" in text


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.=3"])
def test_set_without_key_or_value(override):
    assert "--set takes section.key=value" in message(overrides=(override,))


@pytest.mark.parametrize(
    ("size", "replicas", "sizes"), [(64, 3, "63 or 66"), (2, 4, "Use 4."), (10, 4, "8 or 12")]
)
def test_global_batch_size_that_replicas_cannot_share(size, replicas, sizes):
    with pytest.raises(ConfigError, match=sizes):
        check_global_batch_size(size, replicas)


def test_global_batch_size_that_replicas_can_share():
    check_global_batch_size(64, 2)
    check_global_batch_size(3, 1)
