"""The command as a user runs it, mostly in environments that are broken; never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor import subjects
from tests.doctor.test_versions import distribution
from tfdml.cli import doctor, main
from tfdml.errors import ConfigError


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """An environment with a TensorFlow that cannot be imported, of another version than the tested one."""
    modules = tmp_path / "site"
    distribution(modules, "tensorflow", "2.20.0")
    (modules / "tensorflow.py").write_text("raise ImportError('libcudart.so.9: cannot open')")
    return {**os.environ, "PYTHONPATH": str(modules), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def tfdml_doctor(*arguments: str, environ=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tfdml", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ if environ is None else environ),
        cwd=Path(__file__).parents[2],
    )


def test_help_teaches_and_imports_nothing_slow():
    code = (
        "import sys, json\nfrom tfdml.cli.main import main\n"
        "try: main(['doctor', '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *help_text, modules = done.stdout.splitlines()
    assert "    srun tfdml doctor --probe" in help_text
    assert "    tfdml doctor --model_dir=/shared/runs/a" in help_text
    assert not {"tensorflow", "keras", "numpy", "rich", "pydantic"} & set(json.loads(modules))


def test_without_a_tensorflow_that_works_it_reports(broken):
    done = tfdml_doctor(environ=broken)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == "" and "Traceback" not in done.stdout
    table, _, end = done.stdout.partition("What would fail: 2")
    # Everything else was looked at all the same.
    for name in (
        "processors",
        "memory",
        "open files",
        "disk",
        "cluster",
        "open ports",
        "GPUs and NCCL",
    ):
        assert re.search(rf"^  (ok|note|warning) +{name} ", table, re.M), name
    end = " ".join(end.split())
    assert "tensorflow 2.20.0 is installed, and tfdml needs tensorflow >= 2.21, < 2.22" in end
    assert "ImportError: libcudart.so.9: cannot open" in end
    assert "pip install 'tensorflow<2.22,>=2.21'" in end


def test_json(broken, tmp_path):
    done = tfdml_doctor("--json", f"--model-dir={tmp_path}", environ=broken)
    assert done.returncode == 1 and done.stderr == ""
    document = json.loads(done.stdout)
    assert document["would_fail"] is True
    levels = {finding["name"]: finding["level"] for finding in document["findings"]}
    assert levels["TensorFlow"] == "error" and levels["disk"] in ("ok", "warning")
    assert any(str(tmp_path) in finding["text"] for finding in document["findings"])


def test_many_things_that_are_wrong(broken, tmp_path):
    """One run names each of them."""
    environ = {
        **broken,
        **subjects.tf_config("localhost:23456", "no-such-host.invalid:23457"),
        "TFDML_HOST": "a,b",
        "http_proxy": "http://proxy:3128",
        "TFDML_NATIVE": "of",
    }
    (tmp_path / "file").touch()
    done = tfdml_doctor("--json", f"--model_dir={tmp_path}/file/runs", "--probe", environ=environ)
    assert done.returncode == 1 and done.stderr == ""
    findings = json.loads(done.stdout)["findings"]
    wrong = {finding["name"] for finding in findings if finding["level"] == "error"}
    named = {
        "versions",
        "TensorFlow",
        "tasks",
        "variables",
        "native ops",
        "disk",
        "probe",
    }
    assert wrong == named
    assert all(f["remedy"] for f in findings if f["level"] == "error")


@pytest.mark.slow
def test_here_nothing_would_fail(tmp_path):
    environ = {name: text for name, text in os.environ.items() if not name.endswith("_proxy")}
    done = tfdml_doctor("--json", f"--model_dir={tmp_path}", environ=environ)
    document = json.loads(done.stdout)
    wrong = [finding for finding in document["findings"] if finding["level"] == "error"]
    assert done.returncode == len(wrong) == 0, wrong
    assert document["would_fail"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=x.yaml"], "add --recipe=SCRIPT"),
        (["--set", "a=b"], "add --recipe=SCRIPT"),
        (["--recipe=/no/such.py"], "--recipe=/no/such.py: no such file"),
        (["--parameters=10", "--probe"], "from 10,000 to 100,000,000"),
    ],
)
def test_wrong_command_lines(arguments, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        doctor.main(arguments)


def test_a_flag_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["doctor", "--prob"])
    assert end.value.code == 2 and "--prob" in capsys.readouterr().err
