"""Generated files as those who run them read them: which pods or containers come of one, and what each is given.

What controllers add is written down from their sources: the names of pods, JOB_COMPLETION_INDEX, TF_CONFIG.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's is ten times as fast.
    """YAML 1.1 as Kubernetes reads it, which refuses a key that is there twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"{twice} twice in line {node.start_mark.line + 1}"
        return super().construct_mapping(node, deep)


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.load_all(text, _Loader))


def fast_load(text: str) -> Any:
    """One document in which `<<: *anchor` may repeat a key."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def of_kind(text: str, kind: str) -> list[dict[str, Any]]:
    return [document for document in documents(text) if document["kind"] == kind]


def kubernetes_expanded(text: str, variables: dict[str, str]) -> str:
    """As third_party/forked/golang/expansion of Kubernetes: `$$` is `$`, `$(NAME)` a known variable."""

    def replaced(match: re.Match[str]) -> str:
        found = match[0]
        if found == "$$":
            return "$"
        return variables.get(found[2:-1], found)

    return re.sub(r"\$\$|\$\([^)]*\)", replaced, text)


def compose_interpolated(text: str) -> str:
    """As Compose: `$$` is `$`, and any other `$` would be a variable, which no file of ours has."""
    assert "$" not in text.replace("$$", ""), text
    return text.replace("$$", "$")


@dataclass(frozen=True)
class Task:
    """One container that runs: what it is called, its environment and its process 1."""

    hostname: str
    environ: dict[str, str]
    argv: list[str]
    labels: dict[str, str]
    spec: dict[str, Any]


def pods(text: str) -> Iterator[Task]:
    """The pods that come of all StatefulSets, JobSets and TFJobs in a manifest."""
    for document in documents(text):
        expand = {"StatefulSet": _stateful_set, "JobSet": _job_set, "TFJob": _tf_job}
        if document["kind"] in expand:
            yield from expand[document["kind"]](document)


def _stateful_set(document: dict[str, Any]) -> Iterator[Task]:
    spec = document["spec"]
    for index in range(spec["replicas"]):
        yield _pod(f"{document['metadata']['name']}-{index}", spec["template"], {}, {})


def _job_set(document: dict[str, Any]) -> Iterator[Task]:
    name = document["metadata"]["name"]
    label = {"jobset.sigs.k8s.io/jobset-name": name}
    for job in document["spec"]["replicatedJobs"]:
        spec = job["template"]["spec"]
        assert spec["completions"] == spec["parallelism"] and job["replicas"] == 1
        for index in range(spec["completions"]):
            # site/static/examples/simple/jobset-with-network.yaml: <jobset>-<job>-<job-index>-<pod-index>
            hostname = f"{name}-{job['name']}-0-{index}"
            added = {"JOB_COMPLETION_INDEX": str(index)}
            yield _pod(hostname, spec["template"], added, label)


def _tf_job(document: dict[str, Any]) -> Iterator[Task]:
    """training-operator v1.9, pkg/controller.v1/tensorflow/tensorflow.go: genClusterSpec."""
    metadata, specs = document["metadata"], document["spec"]["tfReplicaSpecs"]
    assert document["spec"]["enableDynamicWorker"] is False
    name, namespace = metadata["name"], metadata["namespace"]
    cluster = {}
    for kind, spec in specs.items():
        (container,) = (
            c for c in spec["template"]["spec"]["containers"] if c["name"] == "tensorflow"
        )
        (port,) = (p["containerPort"] for p in container["ports"] if p["name"] == "tfjob-port")
        cluster[kind.lower()] = [
            f"{name}-{kind.lower()}-{i}.{namespace}.svc:{port}" for i in range(spec["replicas"])
        ]
    for kind, spec in specs.items():
        for index in range(spec["replicas"]):
            task = {"type": kind.lower(), "index": index}
            tf_config = {"cluster": cluster, "task": task, "environment": "cloud"}
            several = sum(map(len, cluster.values())) > 1
            added = {"TF_CONFIG": json.dumps(tf_config)} if several else {}
            label = {"training.kubeflow.org/job-name": name}
            yield _pod(f"{name}-{kind.lower()}-{index}", spec["template"], added, label)


def _pod(
    hostname: str, template: dict[str, Any], added: dict[str, str], labels: dict[str, str]
) -> Task:
    (container,) = template["spec"]["containers"]
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    environ.update({each["name"]: each["value"] for each in container.get("env", ())})
    environ.update(added)
    parts = [*container["command"], *container["args"]]
    argv = [kubernetes_expanded(part, environ) for part in parts]
    own_labels = {**template.get("metadata", {}).get("labels", {}), **labels}
    return Task(hostname, environ, argv, own_labels, template["spec"])


def containers(text: str) -> Iterator[Task]:
    """The containers of a compose file."""
    # Merge keys may be overridden, so the plain loader.
    for name, service in fast_load(text)["services"].items():
        assert service["hostname"] == name  # Docker's DNS knows services, tfdml its own hostname.
        argv = [compose_interpolated(part) for part in service["entrypoint"] + service["command"]]
        yield Task(name, dict(service["environment"]), argv, {}, service)
