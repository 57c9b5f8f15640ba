"""Generated files against the schemas and models of those who read them, in an environment of their own.

`make validate` makes that environment, without TensorFlow, and runs these tests. Every check is also
shown a file with a mistake in it, which it must find.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.reading import documents
from tests.deploy.samples import JOBS
from tfdml import deploy
from tfdml.deploy.job import Job
from tfdml.errors import ConfigError

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv-validate" / "bin"
OLDEST_KUBERNETES = "1.31.0"  # What jobset.py says that it needs.

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BIN / "kubernetes-validate").exists(),
        reason="the environment that validates files, .venv-validate, is not there: run `make validate`",
    ),
]


def check(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    result.stdout += result.stderr
    return result


def passes(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout


def finds(result: subprocess.CompletedProcess[str], mistake: str) -> None:
    assert result.returncode != 0 and mistake in result.stdout, result.stdout


def write_all(kind: str, directory: Path, suffix: str) -> list[Path]:
    """A file for each of the samples that this kind can do."""
    paths = []
    for name, job in JOBS.items():
        try:
            text = deploy.generate(kind, job)
        except ConfigError:
            continue
        paths.append(directory / f"{name.replace(' ', '_')}{suffix}")
        paths[-1].write_text(text, encoding="utf-8")
    assert len(paths) >= 3
    return paths


def changed(kind: str, path: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """A file of this kind with something else in it."""
    found = documents(deploy.generate(kind, JOBS["workers"]))
    change(found)
    path.write_text(yaml.safe_dump_all(found))
    return path


def built_in(kind: str, directory: Path) -> list[Path]:
    """What is Kubernetes' own in files of this kind: all of it, the JobSet's Jobs, or the TFJob's pods."""
    paths = []
    for path in write_all(kind, directory, ".yaml"):
        parts = []
        for document in documents(path.read_text(encoding="utf-8")):
            if document["kind"] == "JobSet":
                for job in document["spec"]["replicatedJobs"]:
                    metadata = {"name": job["name"]}
                    parts.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})
                    parts[-1]["spec"] = job["template"]["spec"]
            elif document["kind"] == "TFJob":
                for replica in document["spec"]["tfReplicaSpecs"].values():
                    parts.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
                    parts[-1]["spec"] = replica["template"]["spec"]
            else:
                parts.append(document)
        path.write_text(yaml.safe_dump_all(parts))
        paths.append(path)
    return paths


@pytest.mark.parametrize("kind", ["kubernetes", "jobset", "kubeflow"])
def test_objects_of_kubernetes_by_its_strict_schemas(kind: str, tmp_path: Path) -> None:
    paths = built_in(kind, tmp_path)
    if kind == "kubernetes":
        # As they are written, with their remarks.
        paths = write_all(kind, tmp_path, ".yaml")
    passes(check("kubernetes-validate", "--strict", *paths))
    passes(
        check("kubernetes-validate", "--strict", "--kubernetes-version", OLDEST_KUBERNETES, *paths)
    )


def test_an_unknown_field_would_be_found(tmp_path: Path) -> None:
    def change(found: list[dict[str, Any]]) -> None:
        stateful_set = next(each for each in found if each["kind"] == "StatefulSet")
        stateful_set["spec"]["template"]["spec"]["gracePeriod"] = 5

    path = changed("kubernetes", tmp_path / "a.yaml", change)
    finds(check("kubernetes-validate", "--strict", path), "gracePeriod")


@pytest.mark.parametrize("kind", ["jobset", "kubeflow"])
def test_objects_of_others_lose_nothing_in_their_models(kind: str, tmp_path: Path) -> None:
    paths = write_all(kind, tmp_path, ".yaml")
    result = check("python", Path(__file__).with_name("models.py"), *paths)
    passes(result)
    assert f"{len(paths)} object(s) checked" in result.stdout


@pytest.mark.parametrize("kind", ["jobset", "kubeflow"])
def test_a_field_that_a_model_does_not_know_would_be_found(kind: str, tmp_path: Path) -> None:
    def change(found: list[dict[str, Any]]) -> None:
        spec = found[-1]["spec"]
        spec["failurePolicy" if kind == "jobset" else "runPolicy"]["restartsAtMost"] = 5

    path = changed(kind, tmp_path / "a.yaml", change)
    finds(check("python", Path(__file__).with_name("models.py"), path), "restartsAtMost is unknown")


def test_compose_files_by_the_compose_specification(tmp_path: Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    paths = write_all("compose", tmp_path, ".yaml")
    passes(check("check-jsonschema", *schema, *paths))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        paths[0].read_text(encoding="utf-8").replace("stop_grace_period", "grace_period")
    )
    finds(check("check-jsonschema", *schema, wrong), "grace_period")


@pytest.mark.parametrize("kind", [name for name, file in deploy.FILES.items() if file.is_script])
def test_scripts_by_shellcheck(kind: str, tmp_path: Path) -> None:
    paths = write_all(kind, tmp_path, ".sh")
    passes(check("shellcheck", *paths))
    wrong = tmp_path / "wrong.sh"
    wrong.write_text(paths[0].read_text(encoding="utf-8") + "\nrm -r $1/$2\n")
    finds(check("shellcheck", wrong), "SC2086")


def test_the_script_in_a_stateful_set_by_shellcheck(tmp_path: Path) -> None:
    found = documents(deploy.generate("kubernetes", Job(("a.py",))))
    (container,) = found[-1]["spec"]["template"]["spec"]["containers"]
    path = tmp_path / "wrapper.sh"
    path.write_text("#!/bin/sh\n" + container["command"][2])
    passes(check("shellcheck", path))
