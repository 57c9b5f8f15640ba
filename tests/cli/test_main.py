"""The `tfdml` command finds its subcommands and imports nothing that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tfdml.cli import main
from tfdml.version import __version__


def tfdml(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tfdml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tfdml {__version__}\n"
    assert main.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in main.COMMANDS)


def test_an_unknown_command_lists_the_known() -> None:
    result = tfdml("lanch")
    assert result.returncode == 2
    assert "unknown command 'lanch'" in result.stderr and "Did you mean 'launch'?" in result.stderr
    assert all(name in result.stderr for name in main.COMMANDS)
    assert result.stderr.count("\n") == 1


def test_launch_help_teaches_with_examples() -> None:
    result = tfdml("launch", "--help")
    assert result.returncode == 0
    assert "tfdml launch --workers=2 train.py" in result.stdout
    assert "--hosts=" in result.stdout


@pytest.mark.parametrize("module", ["tfdml.cli.launch", "tfdml.launch.run", "tfdml.cluster"])
def test_the_launcher_does_not_import_tensorflow(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(json.loads(result.stdout))
    assert module in loaded
    assert not loaded & {"tensorflow", "keras", "numpy"}
