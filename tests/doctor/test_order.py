"""The list of checks, and what becomes of one that raises, hangs or stops half-way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.doctor import subjects
from tfdml.doctor import order
from tfdml.doctor.finding import Finding
from tfdml.doctor.order import Check, run
from tfdml.doctor.subject import Subject
from tfdml.errors import ClusterError

CHECKS = [check for checks in order.SECTIONS.values() for check in checks]


def test_a_check_that_raises_is_a_finding_and_what_it_had_found_counts() -> None:
    def check(subject: Subject) -> Iterator[Finding]:
        yield Finding("broken", "ok", "so far")
        raise ZeroDivisionError("division by zero")

    first, second = run(Check("broken", check), subjects.make())
    assert first.text == "so far"
    assert (second.name, second.level) == ("broken", "error")
    assert second.text == "the check ended with ZeroDivisionError: division by zero"
    assert "defect of tfdml doctor" in second.remedy


def test_an_error_of_the_user_is_its_sentence() -> None:
    def check(subject: Subject) -> list[Finding]:
        raise ClusterError("TF_CONFIG is wrong: put it right.")

    (finding,) = run(Check("cluster", check), subjects.make())
    assert (finding.level, finding.text) == ("error", "TF_CONFIG is wrong: put it right.")


def test_a_check_that_hangs_is_a_finding_and_the_next_one_goes_on() -> None:
    release = threading.Event()

    def check(subject: Subject) -> Iterator[Finding]:
        yield Finding("hangs", "note", "before")
        release.wait()
        yield Finding("hangs", "ok", "much too late")

    findings = run(Check("hangs", check, limit_seconds=0.2), subjects.make())
    release.set()
    assert [finding.text for finding in findings] == [
        "before",
        "the check did not finish within 0.2 s",
    ]
    assert findings[-1].level == "error"


def test_sections_come_in_order_and_empty_ones_are_left_out(monkeypatch) -> None:
    quiet = Check("quiet", lambda subject: [])
    loud = Check("loud", lambda subject: [Finding("loud", "ok", subject.environ["X"])])
    monkeypatch.setattr(order, "SECTIONS", {"A": (loud, quiet), "B": (quiet,), "C": (loud,)})
    monkeypatch.setattr(Subject, "start", lambda self: None)
    sections = list(order.examine(subjects.make({"X": "seen"})))
    assert [(name, [f.text for f in found]) for name, found in sections] == [
        ("A", ["seen"]),
        ("C", ["seen"]),
    ]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_speaks_under_its_own_name_and_survives_an_empty_world(check, tmp_path) -> None:
    """No environment, no readable file, no TensorFlow: a finding or none, and never an exception."""
    subject = subjects.make({}, files={}, failure="ended with status 1", model_dir=tmp_path)
    for finding in run(check, subject):
        assert finding.name == check.name
        assert "the check ended with" not in finding.text
    subject.close()


def test_names_are_different() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_nothing_here_imports_tensorflow() -> None:
    code = "import sys, json, tfdml.cli.doctor, tfdml.doctor.order, tfdml.doctor.report\n"
    code += "print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {"tensorflow", "keras", "numpy"} & set(json.loads(done.stdout))
