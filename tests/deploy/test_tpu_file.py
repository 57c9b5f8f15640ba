"""The script for Cloud TPUs, run against a gcloud that does on this machine what it is asked to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.samples import JOBS, ODD_ARGUMENTS
from tfdml import deploy
from tfdml.deploy.job import Job
from tfdml.errors import ConfigError

# Notes every call. There is a slice from `create` to `delete`, and `ssh` with the launcher in it runs the
# command in a shell as the host of a TPU would.
_GCLOUD = """#!/bin/sh
''':'
exec "{python}" "$0" "$@"
':'''
import json, os, pathlib, subprocess, sys
home = pathlib.Path(os.environ["HOME"])
arguments = sys.argv[1:]
with open(home / "calls", "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
slice = home / "slice"
verb = arguments[3]
if verb == "create":
    slice.write_text("ACTIVE")
elif verb == "delete":
    slice.unlink()
elif verb == "describe":
    print(slice.read_text())
elif verb == "ssh" and " launch " in " ".join(arguments):
    command = next(a for a in arguments if a.startswith("--command=")).partition("=")[2]
    sys.exit(subprocess.run(["bash", "-c", command]).returncode)
"""
_TFDML = """#!/bin/sh
''':'
exec "{python}" "$0" "$@"
':'''
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
with open(home / "launches", "a") as launches:
    launches.write(json.dumps([sys.argv[1:], os.environ.get("TFDML_CLUSTER")]) + "\\n")
statuses = (home / "statuses").read_text().split()
(home / "statuses").write_text(" ".join(statuses[1:]))
if statuses[0] == "gone":
    (home / "slice").write_text("SUSPENDED")
    sys.exit(255)
sys.exit(int(statuses[0]))
"""


class Cloud:
    def __init__(self, home: Path) -> None:
        self.home = home
        self._program(home / "bin" / "gcloud", _GCLOUD)
        self._program(home / "venv" / "bin" / "tfdml", _TFDML)
        (home / "job").mkdir()
        (home / "here").mkdir()

    def _program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True)
        path.write_text(text.replace("{python}", sys.executable))
        path.chmod(0o755)

    def run(self, job: Job, *arguments: str, statuses: str = "0") -> subprocess.CompletedProcess:
        script = self.home / "job.sh"
        script.write_text(deploy.generate("tpu", job))
        (self.home / "statuses").write_text(statuses)
        return subprocess.run(
            ["bash", str(script), *arguments],
            cwd=self.home / "here",
            env={"HOME": str(self.home), "PATH": f"{self.home / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def lines(self, name: str) -> list:
        path = self.home / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        return [call[3] for call in self.lines("calls") if call[3] != "describe"]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_makes_the_slice_trains_and_deletes_it(cloud: Cloud) -> None:
    result = cloud.run(JOBS["odd arguments"])
    assert result.returncode == 0, result.stderr
    assert cloud.verbs() == ["create", "scp", "ssh", "ssh", "ssh", "delete"]
    (launch,) = cloud.lines("launches")
    assert launch == [
        ["launch", "--grace_period_seconds=0", "a b/it's train.py", *ODD_ARGUMENTS],
        "tpu",
    ]
    create = cloud.lines("calls")[0]
    assert "--accelerator-type=v4-16" in create and "--spot" not in create
    assert all("--worker=all" in call for call in cloud.lines("calls") if call[3] in ("ssh", "scp"))


def test_a_slice_that_was_taken_away_is_made_again(cloud: Cloud) -> None:
    job = Job(("a.py",), workers=1, max_restarts=1)
    result = cloud.run(job, statuses="42 gone 42 0")
    assert result.returncode == 0, result.stderr
    assert cloud.verbs().count("create") == 2
    assert len(cloud.lines("launches")) == 4


def test_too_many_failures_end_it_and_delete_the_slice(cloud: Cloud) -> None:
    job = Job(("a.py",), workers=1, max_restarts=1)
    result = cloud.run(job, statuses="1 42 3 0")
    assert result.returncode == 3
    assert "failed 2 time(s), the last with status 3" in result.stderr
    assert cloud.verbs()[-1] == "delete"
    assert len(cloud.lines("launches")) == 3


def test_an_unknown_step(cloud: Cloud) -> None:
    result = cloud.run(JOBS["workers"], "instal")
    assert result.returncode == 2 and "usage:" in result.stderr
    assert cloud.lines("calls") == []


@pytest.mark.parametrize(
    ("volume", "shared"),
    [
        ("bucket", "gs://bucket"),
        ("gs://a-b", "gs://a-b"),
        ("10.0.0.2:/share", "10.0.0.2:/share"),
        ("/mnt/it's {here}", "/mnt/it's {here}"),
    ],
)
def test_what_all_hosts_share(volume: str, shared: str, tmp_path: Path) -> None:
    text = deploy.generate("tpu", Job(("a.py",), volume=volume))
    (line,) = (line for line in text.splitlines() if line.startswith("SHARED="))
    shown = subprocess.run(
        ["bash", "-c", f'{line}\nprintf %s "$SHARED"'], capture_output=True, text=True, env={}
    )
    assert shown.stdout == shared


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job(("a.py",), ps=1), "workers only, got chief, worker, ps: leave them out"),
        (Job(("a.py",), evaluator=True), "workers only, got worker, evaluator"),
        (Job(("a.py",), chief=True), "workers only, got chief, worker"),
        (Job(("a.py",), gpus_per_worker=1), "`gpus_per_worker` must be 0 on a TPU slice, got 1"),
        (Job(("a.py",), workers=3), "`workers` must be the number of hosts .* got 3"),
    ],
)
def test_what_a_slice_does_not_have(job: Job, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        deploy.generate("tpu", job)
    assert "\n" not in str(caught.value)
