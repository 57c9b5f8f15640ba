"""Whether TensorFlow and Keras can be imported, in a process of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tfdml.doctor.checks.versions import TESTED_PAIR, installed_version
from tfdml.doctor.child import Answer
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "TensorFlow"
_ERROR = re.compile(r"error: |[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt): ")
_SLOW_SECONDS = 30.0
_BACKEND_REMEDY = "Set KERAS_BACKEND=tensorflow; `tfdml launch` does that for its tasks."


def check(subject: Subject) -> Iterable[Finding]:
    answer = subject.tensorflow
    said = answer.values
    if "keras_backend" not in said:
        yield Finding(NAME, "error", f"it {answer.failure}: {last_line(answer)}", _remedy(answer))
        return
    seconds = said["import_seconds"]
    slow = seconds > _SLOW_SECONDS
    yield Finding(
        NAME,
        "warning" if slow else "ok",
        f"TensorFlow {said['tensorflow']} and Keras {said['keras']} were imported in {seconds:.1f} s",
        "Network file systems make it slow: install into a local directory." if slow else "",
        {"import_seconds": seconds},
    )
    for name in TESTED_PAIR:
        version = installed_version(name) or ""
        # Pre-releases are spelt in two ways, "2.22.0-rc0" and "2.22.0rc0".
        if version.replace(".", "").isdigit() and said[name] != version:
            yield Finding(
                NAME,
                "warning",
                f"{name} {said[name]} was imported, but pip knows {version}: another copy is in the way",
                f"`python -c 'import {name}; print({name})'` shows where it is.",
            )
    if said["keras_backend"] != "tensorflow":
        yield Finding(
            NAME,
            "error",
            f"Keras uses the backend {said['keras_backend']!r} (KERAS_BACKEND or ~/.keras/keras.json)",
            _BACKEND_REMEDY,
        )
    if answer.failure:
        yield Finding(
            NAME,
            "error",
            f"it {answer.failure}: {last_line(answer)}",
            "Training begins with the same: put it right first.",
        )


def last_line(answer: Answer) -> str:
    """What a child printed last; its exception, or a user's error, where there is one."""
    lines = answer.output.splitlines()
    telling = [line for line in lines if _ERROR.match(line)]
    return (telling or lines or ["it printed nothing"])[-1]


def _remedy(answer: Answer) -> str:
    if "SIGILL" in answer.failure:
        return (
            "This processor lacks instructions that the package was built with, such as AVX: use a "
            "newer one, or build TensorFlow for it."
        )
    if "SIGKILL" in answer.failure:
        return "The kernel ended it, most likely for want of memory: see `memory`."
    if "tensorflow" in answer.values:  # Then it is Keras that could not be imported.
        return f"{_BACKEND_REMEDY} Or install Keras again."
    return "pip install --force-reinstall tensorflow, in this environment."
