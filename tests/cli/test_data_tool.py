"""The data tools as commands: help, one-line errors, exit status, and that `tfdml NAME` runs the same script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfdml.cli.data_tool import one_directory, run_bundled
from tfdml.cli.main import COMMANDS
from tfdml.cli.recipes import BUNDLED
from tfdml.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("convert", "inspect", "verify", "reshard", "stats")

SCRIPT = '''
"""Say what was given.

    tool --size=3 words
"""
import sys
from absl import flags
from tfdml.cli.data_tool import run_tool
from tfdml.errors import DataError
SIZE = flags.DEFINE_integer("some_size", 7, "How large, " + "which is explained at some length " * 5)
flags.DEFINE_multi_string("each", [], "Each of them.")
MODE = flags.DEFINE_enum("mode", None, ["fast", "slow"], "How.")
def main(words):
    if MODE.value == "fast":
        raise DataError("too fast.")
    if MODE.value == "slow":
        raise KeyboardInterrupt
    for _ in range(SIZE.value):
        print(words)
    return 5
if __name__ == "__main__":
    run_tool(main, __doc__)
'''


@pytest.fixture
def tool(tmp_path):
    (tmp_path / "tool.py").write_text(SCRIPT)

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, str(tmp_path / "tool.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return run


def test_status_words_and_errors(tool):
    assert tool("a", "--some-size=2", "b") == (5, "['a', 'b']\n" * 2, "")
    assert tool("--mode=fast") == (2, "", "error: too fast.\n")
    assert tool("--mode=slow") == (130, "", "interrupted\n")
    status, out, error = tool("--some_size=x")
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert "some_size" in error and "See --help" in error


def test_help(tool):
    status, out, error = tool("--help", "--mode=nonsense")
    assert (status, error) == (0, "")
    assert out.startswith("Say what was given.\n\n    tool --size=3 words\n")
    assert "  --some_size=INT\n        How large, which" in out
    assert "(default: 7)" in out
    assert "  --mode=fast|slow\n        How.\n" in out
    assert "  --each=STRING\n        Each of them. Repeatable.\n" in out
    assert max(map(len, out.splitlines())) <= 100


def test_output_that_nobody_reads_on_is_no_error(tmp_path):
    (tmp_path / "tool.py").write_text(SCRIPT)
    tool = f"'{sys.executable}' '{tmp_path}/tool.py'"
    command = f"{tool} --some_size=100000 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    command = f"{tool} --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_is_a_command_with_help(name, monkeypatch, capsys):
    assert name in COMMANDS
    assert (BUNDLED / "data_tools" / f"{name}.py").exists()
    done = subprocess.run(
        [sys.executable, "-m", "tfdml", name, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert f"tfdml {name} " in done.stdout  # an example of its use


def test_a_tool_that_is_not_there():
    with pytest.raises(
        ConfigError, match=r"nosuch\.py is missing, so this tfdml was not installed"
    ):
        run_bundled("nosuch", [])


def test_one_directory():
    assert one_directory(["a"], None) == one_directory([], "a") == "a"
    with pytest.raises(ConfigError, match="--input_dir is missing"):
        one_directory([], None)
    with pytest.raises(ConfigError, match="got 'a', 'b'"):
        one_directory(["a"], "b")
