"""A pod of a StatefulSet, of an Indexed Job or of a JobSet, behind a headless Service.

Kubernetes gives such a pod a name that ends in its number, and each of them a DNS name below the service,
but tells nobody how many there are. The manifest does, in variables of its containers:

    TFDML_CLUSTER_WORKERS=4      how many workers the job has
    TFDML_CLUSTER_SERVICE=digits the headless Service (`spec.serviceName`, `spec.subdomain`); for pods of
                                 another namespace with .NAMESPACE.svc
    TFDML_CLUSTER_PORT=2222      the port of every task (2222)
    TFDML_CLUSTER_TASK=worker    what this pod is: worker, chief, ps or evaluator (worker)
    TFDML_CLUSTER_CHIEF=1        whether there is a chief beside the workers (1 with ps, else 0)
    TFDML_CLUSTER_PS=0           how many parameter servers
    TFDML_CLUSTER_EVALUATOR=0    1 where there is an evaluator
    TFDML_CLUSTER_INDEX=0        this pod's number (JOB_COMPLETION_INDEX, or the end of the pod's name)
    TFDML_CLUSTER_PODS=...       the pods' names, with {task} and {index} (from the pod's own name)

The first two are required. A pod's own name says how the others are called: w-1 has the neighbour w-0;
with several types of task NAME-worker-1 (a StatefulSet or Job each) has NAME-ps-0, and NAME-worker-0-1 (a
JobSet with one replica of each job) has NAME-ps-0-0. TFDML_CLUSTER_PODS is for other names, such as
`NAME-{task}-{index}-0` of a JobSet that has a replica per task, with TFDML_CLUSTER_INDEX from the label
jobset.sigs.k8s.io/job-index; both are needed where pods use the host's network, and with it its name.
"""

from __future__ import annotations

import re

from tfdml.cluster.own_host import own_name
from tfdml.cluster.resolver import Place, Surroundings, address
from tfdml.cluster.spec import TASK_TYPES, ClusterSpec
from tfdml.errors import ClusterError

WORKERS_VARIABLE = "TFDML_CLUSTER_WORKERS"
SERVICE_VARIABLE = "TFDML_CLUSTER_SERVICE"
TASK_VARIABLE = "TFDML_CLUSTER_TASK"
INDEX_VARIABLE = "TFDML_CLUSTER_INDEX"
PODS_VARIABLE = "TFDML_CLUSTER_PODS"
DEFAULT_PORT = 2222
_SIGNS = ("KUBERNETES_SERVICE_HOST", SERVICE_VARIABLE)


def find(around: Surroundings) -> Place | str:
    """The place of a pod whose manifest sets the variables above. Raises `ClusterError`."""
    if not around.text(*_SIGNS):
        return f"{' and '.join(_SIGNS)} are not set"
    service = around.text(SERVICE_VARIABLE)
    counts = task_counts(around)
    if counts is None and not service:
        return f"{WORKERS_VARIABLE} is not set, and Kubernetes does not tell a pod how many others there are"
    if counts is None or not service:
        there, missing = SERVICE_VARIABLE, WORKERS_VARIABLE
        if not service:
            there, missing = missing, there
        raise ClusterError(
            f"{there} is set, but {missing} is not: set both in the pod template, the number of "
            "workers and the headless Service of the pods."
        )
    task_type = around.text(TASK_VARIABLE) or "worker"
    if task_type not in counts:
        raise ClusterError(
            f"{TASK_VARIABLE} must be one of the job's task types, {', '.join(counts)}, got "
            f"{task_type!r}; {WORKERS_VARIABLE}, TFDML_CLUSTER_CHIEF, TFDML_CLUSTER_PS and "
            "TFDML_CLUSTER_EVALUATOR say which these are."
        )
    index = _index(around)
    if index >= counts[task_type]:
        raise ClusterError(
            f"this pod is {task_type} {index}, but the job has {counts[task_type]} {task_type} "
            f"task(s): make {_count_variable(task_type)} the number of pods (replicas, completions)."
        )
    if sum(counts.values()) == 1:
        return Place()
    pods = _pod_names(task_type, index, len(counts) > 1, around)
    port = around.port(DEFAULT_PORT)
    jobs = {
        job: tuple(
            address(f"{pods.replace('{task}', job).replace('{index}', str(i))}.{service}", port)
            for i in range(count)
        )
        for job, count in counts.items()
    }
    return Place(ClusterSpec(jobs, task_type, index))


def task_counts(around: Surroundings) -> dict[str, int] | None:
    """How many tasks of each type the job has, by TFDML_CLUSTER_*; None where nothing says so."""
    workers = around.number(WORKERS_VARIABLE, lowest=1)
    if workers is None:
        return None
    num_ps = around.number("TFDML_CLUSTER_PS") or 0
    chiefs = around.number("TFDML_CLUSTER_CHIEF", highest=1)
    counts = {
        "chief": (1 if num_ps else 0) if chiefs is None else chiefs,
        "worker": workers,
        "ps": num_ps,
        "evaluator": around.number("TFDML_CLUSTER_EVALUATOR", highest=1) or 0,
    }
    return {job: counts[job] for job in TASK_TYPES if counts[job]}


def _index(around: Surroundings) -> int:
    index = around.number(INDEX_VARIABLE, "JOB_COMPLETION_INDEX")
    if index is not None:
        return index
    pod = own_name(around).partition(".")[0]
    match = re.search(r"-([0-9]+)$", pod)
    if not match:
        raise ClusterError(
            f"the name of this pod must end in its number, like digits-0, got {pod!r}: run it in a "
            f"StatefulSet, an Indexed Job or a JobSet, or set {INDEX_VARIABLE} and {PODS_VARIABLE}."
        )
    return int(match[1])


def _pod_names(task_type: str, index: int, several_types: bool, around: Surroundings) -> str:
    """The name of every pod, with {task} and {index} in it."""
    pods = around.text(PODS_VARIABLE)
    if pods:
        needed = ["{index}", *(["{task}"] if several_types else [])]
        if any(part not in pods for part in needed):
            raise ClusterError(
                f"{PODS_VARIABLE} must have {' and '.join(needed)} in it, like "
                f"digits-{{task}}-{{index}}, got {pods!r}."
            )
        return pods
    pod = own_name(around).partition(".")[0]
    name = pod.removesuffix(f"-{index}")
    if name == pod:
        raise ClusterError(
            f"this pod has the number {index}, so its name must end in -{index}, got {pod!r}: set "
            f"{PODS_VARIABLE} to the names of the pods, like digits-{{index}}."
        )
    if not several_types:
        return name + "-{index}"
    for ending in ("", "-0"):
        stem = name.removesuffix(f"-{task_type}{ending}")
        if stem != name:
            return f"{stem}-{{task}}{ending}-{{index}}"
    raise ClusterError(
        f"the job has several types of task, so the name of this pod must be like "
        f"digits-{task_type}-{index}, got {pod!r}: rename its StatefulSet or Job, or set "
        f"{PODS_VARIABLE}, like digits-{{task}}-{{index}}."
    )


def _count_variable(task_type: str) -> str:
    return WORKERS_VARIABLE if task_type == "worker" else f"TFDML_CLUSTER_{task_type.upper()}"
