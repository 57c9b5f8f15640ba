"""Files that start a job on a platform: one module per kind of file, all from one description, `Job`.

Each has `generate(job: Job) -> str`, the text of one complete file with comments for whoever edits it
next. Inside the platform the file runs `tfdml launch SCRIPT ...`, or the script itself, without cluster
flags: tfdml finds the cluster there by itself (`tfdml.cluster`). Nothing here imports TensorFlow, reads
the environment or writes.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from tfdml.deploy.job import Job

__all__ = ["FILES", "FileKind", "Job", "generate"]


@dataclass(frozen=True)
class FileKind:
    """What a person needs to know of one kind of file."""

    summary: str
    start: str  # The command that starts it, with {file} for its path.
    is_script: bool = False


FILES = {
    "slurm": FileKind("a batch script for Slurm", "sbatch {file}", is_script=True),
    "kubernetes": FileKind("a StatefulSet for each type of task", "kubectl apply -f {file}"),
    "jobset": FileKind("a JobSet for Kubernetes", "kubectl apply -f {file}"),
    "kubeflow": FileKind("a TFJob for Kubeflow", "kubectl apply -f {file}"),
    "compose": FileKind("Docker Compose, all on one host", "docker compose --file {file} up"),
    "tpu": FileKind("a script of gcloud commands for Cloud TPUs", "bash {file}", is_script=True),
    "dockerfile": FileKind("an image for the others", "docker build --file {file} --tag {image} ."),
}


def generate(kind: str, job: Job) -> str:
    """The text of a file of this kind, a key of `FILES`. Raises `ConfigError`."""
    return importlib.import_module(f"tfdml.deploy.{kind}").generate(job)
