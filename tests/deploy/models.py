"""Run in the environment of `make validate`: JobSets and TFJobs, passed through their models, lose nothing.

    python models.py FILE...

The models know all fields of their objects. What they do not know is dropped when they read it, so it
is missing from what they write. What they add are defaults. Exit status 1 if anything is missing.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import yaml


def job_set(document: dict[str, Any]) -> dict[str, Any]:
    from kubeflow_trainer_api.models import JobsetV1alpha2JobSet

    return JobsetV1alpha2JobSet.from_dict(document).to_dict()


def tf_job(document: dict[str, Any]) -> dict[str, Any]:
    from kubeflow.training import api_client

    client = api_client.ApiClient()
    answer = SimpleNamespace(data=json.dumps(document))
    model = client.deserialize(answer, "KubeflowOrgV1TFJob")
    return client.sanitize_for_serialization(model)


def lost(given: Any, returned: Any, path: str) -> list[str]:
    """The paths of what is in `given` and not, or not the same, in `returned`."""
    if isinstance(given, dict) and isinstance(returned, dict):
        return [
            each
            for key, value in given.items()
            for each in (
                lost(value, returned[key], f"{path}.{key}")
                if key in returned
                else [f"{path}.{key} is unknown"]
            )
        ]
    if isinstance(given, list) and isinstance(returned, list) and len(given) == len(returned):
        pairs = enumerate(zip(given, returned, strict=True))
        return [each for i, (a, b) in pairs for each in lost(a, b, f"{path}[{i}]")]
    return [] if given == returned else [f"{path}: {given!r} became {returned!r}"]


def main(paths: list[str]) -> int:
    """Print what is lost; say how many objects were checked, so that none is no success."""
    models = {"JobSet": job_set, "TFJob": tf_job}
    checked, problems = 0, []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for document in yaml.safe_load_all(file):
                model = models.get(document["kind"])
                if model is not None:
                    checked += 1
                    problems += lost(document, model(document), f"{path}: {document['kind']}")
    print("\n".join([*problems, f"{checked} object(s) checked"]))
    return 1 if problems or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
