"""The one task that a platform has given to this process: Slurm, Kubernetes, MPI, a TF_CONFIG, and so on.

The platform starts a launcher for each task of its cluster. All that is left to do is to start that task
with the cluster in its TF_CONFIG and its share of the GPUs, and to pass signals and exit status on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tfdml.cluster.peer_watch import awaited_by
from tfdml.cluster.ports import is_free
from tfdml.cluster.resolver import PORT_VARIABLE, Place
from tfdml.errors import ClusterError
from tfdml.launch import gpus
from tfdml.launch.plan import Task, variables_of

TITLES = {
    "kubeflow": "Kubeflow",
    "tf_config": "TF_CONFIG",
    "mpi": "MPI",
    "hosts": "TFDML_HOSTS",
    "sagemaker": "SageMaker",
    "vertex": "Vertex AI",
    "azureml": "Azure ML",
    "slurm": "Slurm",
    "tpu": "Cloud TPU",
    "kubernetes": "Kubernetes",
    "gce": "Google Compute Engine",
    "local": "this host",
}
SHARE_VARIABLE = "TFDML_GPUS"  # tfdml/strategies/gpu_share.py reads it.


def found(place: Place) -> str:
    """What was found, in one line: "Slurm: this is worker 1 at n2:23456, of 4 worker"."""
    return f"{TITLES[place.platform]}: {place.summary()}"


def refuse_workers(place: Place, flag: str) -> None:
    """Raise `ClusterError` where a platform has made this process one task of several already."""
    if place.cluster.is_local:
        return
    raise ClusterError(
        f"{flag} would start tasks of their own inside of a cluster ({found(place)}): leave {flag} out to "
        "start this task, or set TFDML_CLUSTER=local and unset TF_CONFIG to train on this host alone."
    )


def plan_task(
    place: Place, script: str, arguments: Sequence[str], environ: Mapping[str, str] | None = None
) -> Task:
    """The task that `place` is. Raises `ClusterError` where this host's GPUs cannot be shared out."""
    environ = os.environ if environ is None else environ
    variables = variables_of(place.cluster, environ)
    variables.update(_gpu_variables(place, environ))
    return Task(place.cluster, script, tuple(arguments), variables)


def check_port(place: Place) -> None:
    """Raise `ClusterError` where somebody else listens where this task is going to."""
    cluster = place.cluster
    coordinates = "ps" in cluster.jobs and cluster.task_type == "chief"
    # TPU hosts have a service of the platform's own on that port.
    if not cluster.address or coordinates or place.platform == "tpu":
        return
    port = int(cluster.address.rpartition(":")[2])
    if is_free(port):
        return
    remedy = (
        f"change the address of {cluster.task_name} in TF_CONFIG, for every task"
        if place.platform in ("tf_config", "kubeflow")
        else f"set {PORT_VARIABLE} to another one, the same for every task"
    )
    raise ClusterError(
        f"port {port} of this host is taken, and {TITLES[place.platform]} means it for {cluster.task_name}: "
        f"end the program that listens there, or {remedy}."
    )


def start_remedy(place: Place) -> str:
    """What to do about tasks that do not answer."""
    what = "its task" if len(awaited_by(place.cluster)) == 1 else "their tasks"
    return (
        f"see in {TITLES[place.platform]} whether {what} started, check names and firewall, or allow "
        "more time with --start_timeout_seconds"
    )


def _gpu_variables(place: Place, environ: Mapping[str, str]) -> dict[str, str]:
    """CUDA_VISIBLE_DEVICES where nobody set it; it belongs to the platform where it did.

    Where the platform shows this host's GPUs to all of its tasks and means some of them for this one,
    `tfdml.strategies.create` is told which.
    """
    if place.gpus is not None:
        share = ",".join(place.gpus)
        if gpus.VARIABLE not in environ:
            return {gpus.VARIABLE: share or "-1"}
        return {SHARE_VARIABLE: share} if list(place.gpus) != gpus.visible_gpus(environ) else {}
    if gpus.VARIABLE in environ or place.tasks_on_host == 1:
        return {}
    shares = gpus.divide(gpus.visible_gpus(environ), place.tasks_on_host, None)
    return {} if shares is None else {gpus.VARIABLE: ",".join(shares[place.local_index])}
