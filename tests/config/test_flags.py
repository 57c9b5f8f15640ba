"""The command line of a recipe, in this process and in one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfdml.config import flags
from tfdml.errors import ConfigError

RECIPE = '''
"""Teach a toy to count."""
import sys
import tfdml
from tfdml.config import Config, TrainConfig

class ToyConfig(Config):
    train: TrainConfig = TrainConfig()

def main(config, arguments):
    print(config.train.epochs, arguments.model_dir, arguments.mode, "tensorflow" in sys.modules)
    if config.train.seed == 1:
        raise RuntimeError("a bug")

if __name__ == "__main__":
    tfdml.config.run(main, ToyConfig)
'''


@pytest.fixture(scope="module", autouse=True)
def _flags():
    flags.define()


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "train_toy.py"
    path.write_text(RECIPE)
    return lambda *words: subprocess.run(
        [sys.executable, path, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )


def test_dashes_and_underscores_are_the_same():
    dashes = flags.parse(["x.py", "--model-dir=a-b", "--print-config", "--config", "c-d.yaml"])
    underscores = flags.parse(["x.py", "--model_dir=a-b", "--print_config", "--config=c-d.yaml"])
    assert dashes == underscores
    assert dashes.model_dir == Path("a-b")
    assert dashes.config_files == ("c-d.yaml",)


def test_steps_and_tasks_to_profile():
    arguments = flags.parse(["x.py", "--profile_steps=100:110", "--profile-tasks=0,3"])
    assert arguments.overrides == (
        "monitoring.profile_steps=[100,110]",
        "monitoring.profile_tasks=[0,3]",
    )
    for word, example in (("--profile_steps=100-110", "100:110"), ("--profile_tasks=all", "0,1")):
        with pytest.raises(ConfigError, match=f"must be numbers as in {example}, got"):
            flags.parse(["x.py", word])


def test_repeatable_flags_keep_commas_and_order():
    arguments = flags.parse(
        ["x.py", "--config=b", "--config=a", "--set=model.sizes=[1,2]", "--set", "train.seed=3"]
    )
    assert arguments.config_files == ("b", "a")
    assert arguments.overrides == ("model.sizes=[1,2]", "train.seed=3")


def test_a_second_parse_starts_afresh():
    flags.parse(["x.py", "--config=a", "--mode=train", "--print_config", "--model_dir=b"])
    again = flags.parse(["dir/train_toy.py"])
    assert again == flags.Arguments((), (), False, Path("runs/toy"), "train_and_evaluate")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--modeldir=x"], "modeldir"),
        (["--mode=fly"], "train_and_evaluate"),
        (["train.epochs=3"], "--set section.key=value"),
    ],
)
def test_bad_flags(words, expected):
    with pytest.raises(ConfigError, match=expected):
        flags.parse(["x.py", *words])


def test_main_gets_the_configuration_and_no_tensorflow(recipe):
    done = recipe("--set", "train.epochs=3", "--model-dir=there", "--mode=train")
    assert (done.returncode, done.stdout) == (0, "3 there train False\n"), done.stderr


def test_print_config_prints_what_config_takes(recipe, tmp_path):
    done = recipe("--set=train.epochs=3", "--print_config")
    assert done.returncode == 0
    (tmp_path / "again.yaml").write_text(done.stdout)
    assert "epochs: 3" in done.stdout
    assert recipe("--config=again.yaml", "--print_config").stdout == done.stdout


def test_user_errors_are_one_line_and_bugs_keep_their_traceback(recipe):
    done = recipe("--set=train.epoch=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --set train.epoch=3: there is no setting `train.epoch`;")
    assert done.stderr.count("\n") == 1
    bug = recipe("--set=train.seed=1")
    assert bug.returncode == 1
    assert "Traceback" in bug.stderr


def test_help_teaches(recipe):
    done = recipe("--help")
    assert done.returncode == 0
    for words in (
        "Teach a toy to count.",
        "--set section.key=VALUE",
        "train.epochs=12",
        "runs/toy",
    ):
        assert words in done.stdout
