"""A custom job of Vertex AI, by its CLUSTER_SPEC.

Vertex AI sets TF_CONFIG too, on jobs of several replicas, and `tf_config` reads that first. CLUSTER_SPEC
alone is what a job of one replica has, or a job whose container dropped TF_CONFIG.
"""

from __future__ import annotations

from tfdml.cluster.resolver import Place, Surroundings, shortened
from tfdml.cluster.spec import ClusterSpec
from tfdml.cluster.tf_config import as_object
from tfdml.errors import ClusterError

VARIABLE = "CLUSTER_SPEC"
# What the position of a worker pool means: docs.cloud.google.com, "Distributed training".
_POOLS = {
    "workerpool0": "chief",
    "workerpool1": "worker",
    "workerpool2": "ps",
    "workerpool3": "evaluator",
}


def find(around: Surroundings) -> Place | str:
    """The place of a replica of a custom job. Raises `ClusterError`."""
    text = around.text(VARIABLE)
    if not text:
        return f"{VARIABLE} is not set"
    if "workerpool" not in text:
        return f"{VARIABLE} has no worker pools, so it is not that of Vertex AI"
    config = as_object(text)
    pools, task = config.get("cluster"), config.get("task")
    if not isinstance(pools, dict) or not isinstance(task, dict):
        raise ClusterError(
            f"{VARIABLE} must be a JSON object with `cluster` and `task`, got {shortened(text)!r}."
        )
    unknown = [pool for pool in [*pools, task.get("type")] if pool not in _POOLS]
    if unknown:
        raise ClusterError(
            f"{VARIABLE} has worker pool {unknown[0]!r}; the pools are {', '.join(_POOLS)}."
        )
    for pool, addresses in pools.items():
        if not isinstance(addresses, list):
            raise ClusterError(
                f'the replicas of {pool} in {VARIABLE} must be a list of "host:port", '
                f"got {addresses!r}."
            )
    jobs = {_POOLS[pool]: addresses for pool, addresses in pools.items() if addresses}
    if sum(len(addresses) for addresses in jobs.values()) == 1:
        return Place()
    return Place(ClusterSpec(jobs, _POOLS[task["type"]], task.get("index", 0)))
