"""The cluster as the TF_CONFIG variable describes it.

Platforms that set TF_CONFIG (Kubeflow, Vertex AI, SageMaker, Azure ML) add `"environment": "cloud"`, and
some call the chief `master`. Only with that mark is it taken for `chief`: in a TF_CONFIG that somebody
wrote by hand it is a leftover of TensorFlow 1, and an error.
"""

from __future__ import annotations

import json
from typing import Any

from tfdml.cluster.resolver import Place, Surroundings
from tfdml.cluster.spec import ClusterSpec

VARIABLE = "TF_CONFIG"


def find(around: Surroundings) -> Place | str:
    """The place in TF_CONFIG."""
    text = around.text(VARIABLE)
    if not text:
        return "TF_CONFIG is not set"
    return Place(ClusterSpec.from_tf_config(with_chief(text)))


def as_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; an empty one where there is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_from_platform(text: str) -> bool:
    """Whether a platform wrote this TF_CONFIG, and not a person or `tfdml launch`."""
    return as_object(text).get("environment") == "cloud"


def with_chief(text: str) -> str:
    """A platform's TF_CONFIG with `master` renamed to `chief`; any other one as it is."""
    config = as_object(text)
    jobs, task = config.get("cluster"), config.get("task")
    if not is_from_platform(text) or not isinstance(jobs, dict) or not isinstance(task, dict):
        return text
    if "chief" not in jobs:
        jobs = {"chief" if job == "master" else job: addresses for job, addresses in jobs.items()}
    if task.get("type") == "master":
        task = {**task, "type": "chief"}
    return json.dumps({**config, "cluster": jobs, "task": task})
