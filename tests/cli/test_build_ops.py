"""`tfdml build-ops` says where the library is, and on failure what the compiler said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.native.small_ops import FAILING, UNDEFINED, FakeCompiler, write_sources
from tfdml.cli import main
from tfdml.native import build


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = write_sources(tmp_path / "sources")
    monkeypatch.setattr(build, "SOURCE_DIR", directory)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return directory


def test_help_teaches_without_importing_tensorflow() -> None:
    code = (
        "import sys, json\nfrom tfdml.cli.main import main\n"
        "try: main(['build-ops', '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *help_text, modules = done.stdout.splitlines()
    assert "    tfdml build-ops --output tfdml/native/prebuilt" in help_text
    assert "tfdml.cli.build_ops" in json.loads(modules)
    assert not {"tensorflow", "keras", "numpy"} & set(json.loads(modules))


def test_builds_into_the_cache_and_again(tmp_path, capsys):
    for _ in range(2):
        assert main.main(["build-ops"]) == 0
        path, figures = capsys.readouterr().out.splitlines()
        assert Path(path).parent == tmp_path / "cache" / "tfdml"
        assert re.fullmatch(r"\d+\.\d MB in \d+\.\d s by .+; it loads", figures)


def test_builds_into_a_directory(tmp_path, capsys):
    assert main.main(["build-ops", "--output", str(tmp_path / "out")]) == 0
    path = Path(capsys.readouterr().out.splitlines()[0])
    assert path.parent == tmp_path / "out" and path.is_file()
    assert not (tmp_path / "cache").exists()


def test_a_library_that_does_not_load_is_a_failure(sources, capsys):
    (sources / "ops_small.cc").write_text(UNDEFINED)
    assert main.main(["build-ops"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cannot be loaded: undefined symbol: _Z14somewhere_elsev." in captured.err


def test_a_directory_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main.main(["build-ops", "--output", str(tmp_path / "file" / "out")]) == 1
    assert f"cannot be kept in {tmp_path}/file/out: Not a directory." in capsys.readouterr().err


def test_a_failing_compiler(tmp_path, monkeypatch, capsys):
    compiler = FakeCompiler(tmp_path / "compiler", FAILING)
    monkeypatch.setenv("CXX", str(compiler.path))
    assert main.main(["build-ops"]) == 1
    captured = capsys.readouterr()
    assert f"error: The C++ compiler {compiler.path} ended with exit status 3 at " in captured.err
    assert captured.err.endswith("\n  small.cc:1: error: broken\n")


@pytest.mark.slow
def test_a_failing_compiler_of_the_real_sources(tmp_path):
    """The command as a user runs it, on the sources of this package."""
    compiler = FakeCompiler(tmp_path / "compiler", FAILING)
    done = subprocess.run(
        [sys.executable, "-m", "tfdml", "build-ops"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "CXX": str(compiler.path)},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        f"error: The C++ compiler {compiler.path} ended with exit status 3 at ops_" in done.stderr
    )
    assert done.stderr.splitlines()[-1] == "  small.cc:1: error: broken"
    assert "Traceback" not in done.stderr


def test_no_compiler(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main.main(["build-ops"]) == 1
    assert capsys.readouterr().err.startswith("error: No C++ compiler was found: none of c++")
