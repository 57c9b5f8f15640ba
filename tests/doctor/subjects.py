"""Subjects for the checks: an environment of one's own, and what TensorFlow would have said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tfdml.cluster.resolver import Surroundings, read_file
from tfdml.doctor.child import Answer
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

HEALTHY: dict[str, Any] = {
    "tensorflow": "2.21.0",
    "import_seconds": 3.0,
    "keras": "3.15.1",
    "keras_backend": "tensorflow",
    "build": {"is_cuda_build": True, "cuda_version": "12.5.1", "cudnn_version": "9"},
    "gpus": [],
    "native": {},
}


def make(
    environ: Mapping[str, str] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    tensorflow: Mapping[str, Any] | None = None,
    failure: str = "",
    output: str = "",
    **options: Any,
) -> Subject:
    """A subject that sees `environ`, `files` in place of those of this machine, and a TensorFlow that said that.

    `tensorflow` is laid over `HEALTHY`; with a `failure` it is all that was said.
    """
    subject = Subject(environ=dict(environ or {}), **options)
    texts = files or {}
    read = (lambda path: texts.get(path)) if files is not None else read_file
    subject.around = Surroundings(subject.environ, read, lambda url, headers: None)
    said = dict(tensorflow or {}) if failure else {**HEALTHY, **(tensorflow or {})}
    subject.tensorflow = Answer(said, failure, output)
    return subject


def tf_config(*addresses: str, index: int = 0, **jobs: list[str]) -> dict[str, str]:
    """The environment of worker `index` at the `addresses`, with other `jobs`."""
    cluster = {"worker": list(addresses), **jobs}
    task = {"type": "worker", "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def by_level(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """The texts of each level, without the levels that are not there."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.level, []).append(finding.text)
    return found


def only(findings: Iterable[Finding], level: str) -> Finding:
    """The one finding of that level."""
    (finding,) = [finding for finding in findings if finding.level == level]
    return finding
