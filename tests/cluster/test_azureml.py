"""Azure's lists of nodes: this node by its address, or by the number that Azure ML gives it."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import azureml

# learn.microsoft.com, "Azure Batch runtime environment variables": a multi-instance task of two nodes.
BATCH = """
    AZ_BATCH_ACCOUNT_NAME=mybatchaccount
    AZ_BATCH_NODE_LIST=10.0.0.4;10.0.0.5
    AZ_BATCH_HOST_LIST=10.0.0.4,10.0.0.5
    AZ_BATCH_MASTER_NODE=10.0.0.4:6000
    AZ_BATCH_IS_CURRENT_NODE_MASTER=false
"""
# Azure ML with the PyTorch distribution, 8 processes on each of two nodes: notes on a training run, and
# the variables that the "Distributed GPU training guide" names.
PYTORCH = """
    AZUREML_NODE_COUNT=2
    NODE_COUNT=2
    GPU_PER_NODE_COUNT=8
    MASTER_ADDR=node-0
    MASTER_PORT=9500
    AZ_BATCH_NODE_LIST=node-0;node-1
    NODE_RANK=1
    WORLD_SIZE=16
    RANK=11
    LOCAL_RANK=3
"""
# Azure Batch AI (retired): learn.microsoft.com, "Migrate from Batch AI to Azure Machine Learning".
BATCH_AI = """
    AZ_BATCHAI_WORKER_HOSTS=10.0.0.4:2222,10.0.0.5:2222
    AZ_BATCHAI_PS_HOSTS=10.0.0.4:2223
    AZ_BATCHAI_TASK_INDEX=1
"""
# The same guide: Open MPI's variables beside Azure's.
MPI = """
    OMPI_COMM_WORLD_RANK=3
    OMPI_COMM_WORLD_SIZE=4
    OMPI_COMM_WORLD_LOCAL_RANK=1
    OMPI_COMM_WORLD_LOCAL_SIZE=2
    AZ_BATCH_MASTER_NODE=10.0.0.4:6105
    AZ_BATCH_HOST_LIST=10.0.0.4,10.0.0.5
"""
OWN_ADDRESS = {"/proc/net/fib_trie": "     |-- 10.0.0.5\n        /32 host LOCAL\n"}


def test_this_node_by_its_address() -> None:
    surroundings = around(BATCH, files=OWN_ADDRESS)
    cluster = place(azureml.find, surroundings).cluster
    assert cluster.jobs == {"worker": ("10.0.0.4:12345", "10.0.0.5:12345")}
    assert cluster.task_name == "worker 1"
    assert winner(surroundings) == "azureml"


def test_several_processes_a_node() -> None:
    found = place(azureml.find, around(PYTORCH))
    assert found.cluster.num_workers == 16
    assert found.cluster.task_index == 11 and found.cluster.address == "node-1:12348"
    assert (found.local_index, found.tasks_on_host) == (3, 8)


def test_one_node_with_several_processes() -> None:
    environ = {"AZ_BATCH_NODE_LIST": "n0", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    assert place(azureml.find, around(environ)).cluster.address == "n0:12346"


def test_batch_ai() -> None:
    cluster = place(azureml.find, around(BATCH_AI + "TFDML_CLUSTER_TASK=worker")).cluster
    assert cluster.jobs["ps"] == ("10.0.0.4:2223",) and cluster.task_name == "worker 1"


def test_the_mpi_distribution_is_read_as_mpi() -> None:
    assert winner(around(MPI, files=OWN_ADDRESS)) == "mpi"


def test_a_single_node_is_local() -> None:
    assert place(azureml.find, around({"AZ_BATCH_NODE_LIST": "10.0.0.4"})).cluster.is_local
    one = {"AZ_BATCHAI_WORKER_HOSTS": "10.0.0.4:2222", "AZ_BATCHAI_TASK_INDEX": "0"}
    assert place(azureml.find, around(one)).cluster.is_local


def test_elsewhere_it_does_not_apply() -> None:
    assert "are not set" in reason(azureml.find, around({}))
    assert "are not set" in reason(azureml.find, around({"AZUREML_NODE_COUNT": "1"}))


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (BATCH, "none of the nodes 10.0.0.4, 10.0.0.5 is this one .* NODE_RANK is not set"),
        (BATCH + "NODE_RANK=2", "NODE_RANK is 2: submit the job with the TensorFlow distribution"),
        ("AZUREML_NODE_COUNT=2", "AZUREML_NODE_COUNT=2, but neither AZ_BATCH_HOST_LIST nor"),
        (PYTORCH + "WORLD_SIZE=17", "WORLD_SIZE=17 processes cannot be equally many on 2 nodes"),
        ("AZ_BATCHAI_WORKER_HOSTS=a:1,b:1", "AZ_BATCHAI_TASK_INDEX, .* is not: submit"),
        (BATCH_AI + "AZ_BATCHAI_TASK_INDEX=2", "the index must be from 0 to 1"),
        (BATCH_AI + "AZ_BATCHAI_WORKER_HOSTS=a,b", "must be \"host:port\", got 'a'"),
        (BATCH_AI + "TFDML_CLUSTER_TASK=boss", "unknown task type 'boss'"),
    ],
)
def test_broken_jobs(environ: str, message: str) -> None:
    refused(azureml.find, around(environ), message)
