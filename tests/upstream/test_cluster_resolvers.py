"""D14: TensorFlow's own cluster resolvers."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from tests.upstream.pinned import still_broken, still_raises
from tfdml.testing import run_in_process

pytestmark = pytest.mark.upstream
CLUSTER = "tfdml/cluster/"


def replicas_without_cluster():
    import tensorflow as tf

    os.environ["TF_CONFIG"] = json.dumps({"task": {"type": "worker", "index": 1}})
    return tf.distribute.MultiWorkerMirroredStrategy().num_replicas_in_sync


def expand(hostlist):
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver

    return slurm_cluster_resolver.expand_hostlist(hostlist)


def slurm_hosts(nodelist, **settings):
    """The addresses that Slurm's resolver gives, and CUDA_VISIBLE_DEVICES afterwards."""
    import tensorflow as tf

    os.environ.update(
        SLURM_PROCID="0",
        SLURM_STEP_NUM_TASKS="2",
        SLURM_STEP_NODELIST=nodelist,
        SLURM_STEP_TASKS_PER_NODE="1(x2)",
    )
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(**settings)
    return resolver.cluster_spec().as_dict()["worker"], os.environ["CUDA_VISIBLE_DEVICES"]


def slurm_without_gpu_tool():
    import tensorflow as tf

    del os.environ["CUDA_VISIBLE_DEVICES"]
    os.environ.update(PATH="", SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="1")
    os.environ.update(SLURM_STEP_NODELIST="n1", SLURM_STEP_TASKS_PER_NODE="1")
    tf.distribute.cluster_resolver.SlurmClusterResolver()


def kubernetes_addresses():
    """With a client of the caller's: the one thing that the resolver can do inside a cluster."""
    import tensorflow as tf

    pod = SimpleNamespace(
        metadata=SimpleNamespace(name="w-0"),
        status=SimpleNamespace(phase="Running", host_ip="10.0.0.1", pod_ip="10.244.0.7"),
    )
    client = SimpleNamespace(
        list_pod_for_all_namespaces=lambda label_selector: SimpleNamespace(items=[pod])
    )
    resolver = tf.distribute.cluster_resolver.KubernetesClusterResolver(override_client=client)
    return resolver.cluster_spec().as_dict()["worker"]


def test_tf_config_without_cluster_trains_alone():
    still_broken("D14", CLUSTER, broken=run_in_process(replicas_without_cluster) == 1)


def test_slurm_sorts_hosts_as_text():
    hosts, _ = run_in_process(slurm_hosts, args=("n[9-10]",), kwargs={"gpus_per_node": 1})
    assert sorted(hosts) == ["n10:8888", "n9:8888"]
    still_broken("D14", CLUSTER, broken=hosts == ["n10:8888", "n9:8888"])


def test_slurm_rejects_two_ranges_in_one_name():
    with still_raises("D14", CLUSTER, match="Invalid hostlist format"):
        run_in_process(expand, args=("r[1-2]n[3-4]",))


def test_slurm_overwrites_the_visible_devices():
    _, devices = run_in_process(slurm_hosts, args=("n[1-2]",), kwargs={"gpus_per_node": 1})
    still_broken("D14", CLUSTER, broken=devices == "0")


def test_slurm_needs_nvidia_smi():
    with still_raises("D14", CLUSTER, match="No such file or directory: 'nvidia-smi'"):
        run_in_process(slurm_without_gpu_tool)


def test_kubernetes_gives_the_address_of_the_host():
    still_broken("D14", CLUSTER, broken=run_in_process(kubernetes_addresses) == ["10.0.0.1:8470"])
