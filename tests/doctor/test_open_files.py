"""The limit of open files, really set."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from tests.doctor import subjects
from tfdml.doctor.checks import open_files

CODE = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from tfdml.doctor.checks import open_files
from tfdml.doctor.subject import Subject
print(json.dumps([finding.as_json() for finding in open_files.check(Subject(environ=json.loads(sys.argv[3])))]))
"""


def under_a_limit(soft: int, hard: int, environ: dict[str, str] | None = None) -> dict:
    arguments = [str(soft), str(hard), json.dumps(environ or {})]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True)
    (finding,) = json.loads(done.stdout or done.stderr)
    return finding


def test_plenty():
    assert under_a_limit(4096, 4096)["level"] == "ok"


def test_few_with_a_higher_hard_limit():
    finding = under_a_limit(256, 4096)
    assert (finding["level"], finding["remedy"]) == (
        "warning",
        "ulimit -n 4096, before the job starts.",
    )


def test_few_and_no_more_allowed():
    finding = under_a_limit(256, 256)
    assert finding["level"] == "warning" and "/etc/security/limits.conf" in finding["remedy"]


def test_too_few():
    finding = under_a_limit(32, 32)
    assert finding["level"] == "error" and "may open 32 files" in finding["text"]


def test_every_task_takes_some():
    many = subjects.tf_config(*(f"host{index}:1" for index in range(100)))
    assert under_a_limit(256, 4096, many)["level"] == "error"


def test_no_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    (finding,) = open_files.check(subjects.make())
    assert finding.level == "ok"
