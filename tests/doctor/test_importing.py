"""TensorFlow that is missing, broken, another one, or with another backend."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only
from tfdml.doctor.checks import importing, versions
from tfdml.doctor.subject import Subject


def check(**options):
    return list(importing.check(subjects.make(**options)))


def test_well():
    assert by_level(check()) == {
        "ok": ["TensorFlow 2.21.0 and Keras 3.15.1 were imported in 3.0 s"]
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ImportError('libfoo.so: cannot open')", ["status 1", "ImportError: libfoo.so"]),
        ("import os; os.abort()", ["ended by SIGABRT while it was importing TensorFlow"]),
        ("1 / 0", ["ZeroDivisionError"]),
    ],
)
def test_a_tensorflow_that_cannot_be_imported(tmp_path, monkeypatch, body, words):
    """A real child, which imports what comes first on the path."""
    (tmp_path / "tensorflow.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    with closing(Subject(environ=dict(os.environ))) as subject:
        (finding,) = importing.check(subject)
    assert finding.level == "error" and finding.remedy
    assert all(word in finding.text for word in words), finding.text


def test_signals_are_explained():
    illegal = check(failure="ended by SIGILL while it was importing TensorFlow")
    assert "AVX" in illegal[0].remedy
    assert "memory" in check(failure="ended by SIGKILL")[0].remedy


def test_a_backend_that_is_not_there():
    said = {"tensorflow": "2.21.0", "import_seconds": 3.0}
    output = "Traceback:\n  File\nModuleNotFoundError: No module named 'jax'"
    (finding,) = check(
        tensorflow=said, failure="ended with status 1 while it was importing Keras", output=output
    )
    assert finding.text.endswith("importing Keras: ModuleNotFoundError: No module named 'jax'")
    assert finding.remedy.startswith("Set KERAS_BACKEND=tensorflow")


def test_another_backend():
    finding = only(check(tensorflow={"keras_backend": "torch"}), "error")
    assert "backend 'torch'" in finding.text


def test_another_copy_than_pip_knows(monkeypatch):
    monkeypatch.setattr(importing, "installed_version", lambda name: "2.21.5")
    warnings = by_level(check(tensorflow={"keras": "2.21.5"}))["warning"]
    assert warnings == [
        "tensorflow 2.21.0 was imported, but pip knows 2.21.5: another copy is in the way"
    ]
    assert versions.installed_version("keras") != "2.21.5"


def test_a_slow_import():
    finding = only(check(tensorflow={"import_seconds": 45.0}), "warning")
    assert "45.0 s" in finding.text and "local directory" in finding.remedy


def test_a_failure_after_the_import():
    said = {**subjects.HEALTHY}
    findings = check(
        tensorflow=said, failure="ended by SIGSEGV while it was loading the native ops"
    )
    assert only(findings, "error").text.startswith("it ended by SIGSEGV while it was loading")
