"""A TFJob of Kubeflow, by its TF_CONFIG.

Kubeflow calls the chief `master` where the TFJob has a replica type Master. With `enableDynamicWorker` it
writes `sparseCluster`, in which a task finds its own address and, a worker, the parameter servers, but
not how many tasks there are: a worker cannot train with others that it does not know. The numbers must
come from the pod template then, in the variables of `kubernetes.py` (TFDML_CLUSTER_WORKERS and so on);
the names follow from the task's own, because TFJob builds all of them alike.
"""

from __future__ import annotations

import re
from typing import Any

from tfdml.cluster import tf_config
from tfdml.cluster.kubernetes import task_counts
from tfdml.cluster.own_host import own_name
from tfdml.cluster.resolver import Place, Surroundings, shortened
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError

DEFAULT_PORT = 2222  # tfjob-port
# <job>-<type>-<index>, then .<namespace>.svc and perhaps the cluster's domain.
_NAME = re.compile(r"(?P<job>.+)-(?P<type>[a-z]+)-(?P<index>[0-9]+)(?P<domain>\..+)?")


def find(around: Surroundings) -> Place | str:
    """The place of a task of a TFJob. Raises `ClusterError`."""
    text = around.text(tf_config.VARIABLE)
    if not text:
        return "TF_CONFIG is not set"
    config = tf_config.as_object(text)
    if "sparseCluster" in config:
        return Place(_from_sparse(config, around))
    if not tf_config.is_from_platform(text):
        return 'TF_CONFIG has neither `sparseCluster` nor `"environment": "cloud"`'
    if not around.text("KUBERNETES_SERVICE_HOST"):
        return "KUBERNETES_SERVICE_HOST is not set"
    return Place(ClusterSpec.from_tf_config(tf_config.with_chief(text)))


def _from_sparse(config: dict[str, Any], around: Surroundings) -> ClusterSpec:
    sparse, task = config["sparseCluster"], config.get("task")
    known = isinstance(sparse, dict) and isinstance(task, dict) and {"type", "index"} <= set(task)
    if not known:
        raise ClusterError(
            "TF_CONFIG with `sparseCluster` must have `task` with `type` and `index`, got "
            f"{shortened(str(config))}."
        )
    assert isinstance(task, dict)
    task_type = "chief" if task["type"] == "master" else task["type"]
    counts = task_counts(around)
    if counts is None:
        raise ClusterError(
            "TF_CONFIG has `sparseCluster`, which does not say how many tasks there are: set "
            "`enableDynamicWorker: false` in the TFJob, or TFDML_CLUSTER_WORKERS in its pods."
        )
    if "chief" not in counts and task["type"] in ("chief", "master"):
        counts = {"chief": 1, **counts}
    name, port = _own_address(sparse, task, around)
    match = _NAME.fullmatch(name)
    if not match or match["type"] != task["type"] or int(match["index"]) != task["index"]:
        raise ClusterError(
            f"the name of {task['type']} {task['index']} must be like JOB-{task['type']}-"
            f"{task['index']}, as TFJob writes it, got {name!r}: set `enableDynamicWorker: false`."
        )
    # Only the chief itself knows whether it is called master; the others are told by no one.
    spelling = {"chief": task["type"] if task_type == "chief" else "chief"}
    jobs = {
        job: tuple(
            f"{match['job']}-{spelling.get(job, job)}-{i}{match['domain'] or ''}:{port}"
            for i in range(count)
        )
        for job, count in counts.items()
    }
    return ClusterSpec(jobs, task_type, task["index"])


def _own_address(
    sparse: dict[str, Any], task: dict[str, Any], around: Surroundings
) -> tuple[str, str]:
    """This task's name and port: from the sparse cluster, or, a chief, from the pod's name."""
    own = sparse.get(task["type"]) or {}
    if isinstance(own, dict):
        found = own.get(str(task["index"]))
    else:  # A parameter server finds itself alone, a worker finds all of them.
        found = own[0] if len(own) == 1 else None
    if isinstance(found, str) and ":" in found:
        name, _, port = found.rpartition(":")
        return name, port
    return own_name(around), str(around.port(DEFAULT_PORT))
