"""Which checks there are, in which order, and how each is kept within its time.

Quick ones first: what needs TensorFlow comes when the child that imports it has had the time of the others.
A check that raises or hangs becomes a finding, and the next one goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tfdml.doctor.checks import (
    cluster,
    disk,
    gpus,
    importing,
    memory,
    native_ops,
    open_files,
    open_ports,
    peers,
    probe,
    processors,
    recipe,
    shared_memory,
    variables,
    versions,
)
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import TENSORFLOW_SECONDS, Subject
from tfdml.errors import TfdmlError

Function = Callable[[Subject], Iterable[Finding]]
QUICK_SECONDS = 10.0
_REPORT_IT = "That is a defect of tfdml doctor: please report it with this line."


@dataclass(frozen=True)
class Check:
    """One check: its name, its function, and the seconds that it may take."""

    name: str
    function: Function
    limit_seconds: float = QUICK_SECONDS


SECTIONS: dict[str, tuple[Check, ...]] = {
    "This host": (
        Check(versions.NAME, versions.check),
        Check(processors.NAME, processors.check),
        Check(memory.NAME, memory.check),
        Check(shared_memory.NAME, shared_memory.check),
        Check(open_files.NAME, open_files.check),
        Check(disk.NAME, disk.check),
    ),
    "The cluster": (
        Check(variables.NAME, variables.check),
        Check(cluster.NAME, cluster.check, 30.0),  # Metadata servers may be asked.
        Check(peers.NAME, peers.check, 120.0),
        Check(open_ports.NAME, open_ports.check),
    ),
    "TensorFlow": (
        Check(importing.NAME, importing.check, TENSORFLOW_SECONDS + 10.0),
        Check(native_ops.NAME, native_ops.check),
        Check(gpus.NAME, gpus.check),
    ),
    "The model": (Check(recipe.NAME, recipe.check, recipe.LIMIT_SECONDS + 10.0),),
    "Between the tasks": (Check(probe.NAME, probe.check, probe.LIMIT_SECONDS + 10.0),),
}


def examine(subject: Subject) -> Iterator[tuple[str, list[Finding]]]:
    """Run all checks; each section as soon as its checks are through, with what they found.

    A section with nothing to say is left out. The caller closes `subject`.
    """
    subject.start()
    for section, checks in SECTIONS.items():
        findings = [finding for check in checks for finding in run(check, subject)]
        if findings:
            yield section, findings


def run(check: Check, subject: Subject) -> list[Finding]:
    """What the check found within its time; what it found before it failed counts."""
    findings: list[Finding] = []

    def collect() -> None:
        try:
            for finding in check.function(subject):
                findings.append(finding)
        except TfdmlError as error:
            findings.append(Finding(check.name, "error", str(error)))
        except Exception as error:
            what = f"the check ended with {type(error).__name__}: {error}"
            findings.append(Finding(check.name, "error", what, _REPORT_IT))

    # A daemon: what hangs in the kernel, such as a dead NFS server, must not keep the process.
    thread = threading.Thread(target=collect, daemon=True, name=f"check {check.name}")
    thread.start()
    thread.join(check.limit_seconds)
    so_far = list(findings)
    if thread.is_alive():
        text = f"the check did not finish within {check.limit_seconds:g} s"
        remedy = "Something that it asks does not answer: a file system, name server or device."
        so_far.append(Finding(check.name, "error", text, remedy))
    return so_far
