"""A job of Azure Machine Learning (or a multi-instance task of Azure Batch), by its list of nodes.

With the TensorFlow distribution Azure ML sets TF_CONFIG, which `tf_config` reads, and with the MPI
distribution `mpi` finds the tasks and their hosts. Left for this module: a list of nodes, in
AZ_BATCH_HOST_LIST or AZ_BATCH_NODE_LIST, and the AZ_BATCHAI_* variables of older jobs.
"""

from __future__ import annotations

from tfdml.cluster import roles
from tfdml.cluster.own_host import find_own
from tfdml.cluster.resolver import Place, Surroundings, address, shortened
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError

_LISTS = ("AZ_BATCH_HOST_LIST", "AZ_BATCH_NODE_LIST")
_REMEDY = "submit the job with the TensorFlow distribution, which sets TF_CONFIG"


def find(around: Surroundings) -> Place | str:
    """The place of a node's task. Raises `ClusterError`."""
    if around.text("AZ_BATCHAI_WORKER_HOSTS"):
        return _batch_ai(around)
    # Batch writes the one with commas and the other with semicolons.
    hosts = [each.strip() for each in around.text(*_LISTS).replace(";", ",").split(",")]
    hosts = [host for host in hosts if host]
    if not hosts:
        nodes = around.number("AZUREML_NODE_COUNT") or 1
        if nodes > 1:
            raise ClusterError(
                f"AZUREML_NODE_COUNT={nodes}, but neither {' nor '.join(_LISTS)} names the nodes: "
                f"{_REMEDY}."
            )
        return f"{_LISTS[0]} and AZ_BATCHAI_WORKER_HOSTS are not set"
    node = 0 if len(hosts) == 1 else find_own(hosts, around)
    if node is None:
        node = around.number("NODE_RANK")
    if node is None or node >= len(hosts):
        raise ClusterError(
            f"none of the nodes {shortened(', '.join(hosts))} is this one by its name and address, "
            f"and NODE_RANK is {around.text('NODE_RANK') or 'not set'}: {_REMEDY}."
        )
    per_node = _tasks_per_node(len(hosts), around)
    port = around.port()
    addresses = [address(host, port + i) for host in hosts for i in range(per_node)]
    own = node * per_node + (around.number("LOCAL_RANK") or 0 if per_node > 1 else 0)
    return Place(roles.assign(addresses, own, around))


def _tasks_per_node(num_nodes: int, around: Surroundings) -> int:
    """1, or what the PyTorch distribution says: it can start several processes a node."""
    world = around.number("WORLD_SIZE") if around.text("RANK") else None
    if world is None or world <= num_nodes:
        return 1
    if world % num_nodes:
        raise ClusterError(
            f"WORLD_SIZE={world} processes cannot be equally many on {num_nodes} nodes: {_REMEDY}."
        )
    return world // num_nodes


def _batch_ai(around: Surroundings) -> Place:
    """Addresses with ports; which kind of task this is, only the command line of the job says."""
    jobs = {
        job: tuple(each.strip() for each in text.split(","))
        for job, text in {
            "worker": around.text("AZ_BATCHAI_WORKER_HOSTS"),
            "ps": around.text("AZ_BATCHAI_PS_HOSTS"),
        }.items()
        if text
    }
    index = around.number("AZ_BATCHAI_TASK_INDEX")
    if index is None:
        raise ClusterError(
            "AZ_BATCHAI_WORKER_HOSTS is set, but AZ_BATCHAI_TASK_INDEX, which of them this is, is "
            f"not: {_REMEDY}."
        )
    task_type = around.text("TFDML_CLUSTER_TASK") or "worker"
    if list(jobs) == ["worker"] and len(jobs["worker"]) == 1:
        return Place()
    return Place(ClusterSpec(jobs, task_type, index))
