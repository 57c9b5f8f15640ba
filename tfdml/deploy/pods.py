"""What the pods of a job are, whichever Kubernetes object makes them: StatefulSet, JobSet or TFJob.

The functions return blocks of YAML without indentation, for the templates of the other modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tfdml.deploy.job import Job
from tfdml.deploy.quoting import indented, yaml_items, yaml_mapping, yaml_string
from tfdml.errors import ConfigError

DEFAULT_PORT = 2222
USER_ID = 1000  # Of the Dockerfile.
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def check_claim(job: Job) -> None:
    """A pod mounts a PersistentVolumeClaim by its name; a path is for platforms without Kubernetes."""
    if not _CLAIM.fullmatch(job.volume):
        raise ConfigError(
            "`volume` must be the name of a PersistentVolumeClaim, lower-case letters, digits, dashes and "
            f"dots, got {job.volume!r}: make one that many nodes can write to (ReadWriteMany) and name it."
        )


def cluster_variables(job: Job, task_type: str) -> dict[str, str]:
    """The variables by which `tfdml.cluster.kubernetes` finds the cluster in a pod of this type."""
    counts = job.task_counts
    return {
        "TFDML_CLUSTER": "kubernetes",
        "TFDML_CLUSTER_SERVICE": job.name,
        "TFDML_CLUSTER_TASK": task_type,
        "TFDML_CLUSTER_WORKERS": str(job.workers),
        "TFDML_CLUSTER_CHIEF": str(counts.get("chief", 0)),
        "TFDML_CLUSTER_PS": str(job.ps),
        "TFDML_CLUSTER_EVALUATOR": str(counts.get("evaluator", 0)),
        "TFDML_CLUSTER_PORT": str(port_of(job)),
    }


def port_of(job: Job) -> int:
    return DEFAULT_PORT if job.port is None else job.port


def pod_spec(
    job: Job,
    task_type: str,
    *,
    variables: Mapping[str, str],
    container: str = "tfdml",
    port_name: str = "tensorflow",
    wrapper: str = "",
) -> str:
    """The `spec` of a pod template. `wrapper` is a shell script that runs its arguments, the launcher."""
    check_claim(job)
    gpus = job.gpus_of(task_type)
    # Half of it at most may be shared memory: what lies there counts as the container's own.
    shared_memory_gib = max(1, min(job.memory_gib_per_worker // 2, 16))
    environment = "\n".join(
        f"- name: {name}\n  value: {yaml_string(text)}" for name, text in variables.items()
    )
    if wrapper:
        command = f"""\
command:
  - /bin/sh
  - -c
  - |
    {indented(wrapper, 4)}
  - tfdml"""
        arguments = job.launch_command
    else:
        command = f"command:\n  {indented(yaml_items(job.launch_command[:1]), 2)}"
        arguments = job.launch_command[1:]
    container_block = f"""\
- name: {container}
  image: {yaml_string(job.image)}
  {indented(command, 2)}
  # `$` is written twice here, because Kubernetes would replace $(NAME).
  args:
    {indented(yaml_items(arguments), 4)}"""
    if environment:
        container_block += f"""
  # How tfdml finds the other tasks: docs/clusters.md. The same numbers stand in every pod.
  env:
    {indented(environment, 4)}"""
    container_block += f"""
  ports:
    - name: {port_name}
      containerPort: {port_of(job)}
  resources:
    requests:
      cpu: {yaml_string(str(job.cpus_per_worker))}
      memory: {yaml_string(f"{job.memory_gib_per_worker}Gi")}
    limits:
      memory: {yaml_string(f"{job.memory_gib_per_worker}Gi")}"""
    if gpus:
        container_block += f"""
      # Whole GPUs, that no other pod shares; needs NVIDIA's device plugin.
      nvidia.com/gpu: {yaml_string(str(gpus))}"""
    container_block += f"""
  securityContext:
    allowPrivilegeEscalation: false
    capabilities:
      drop: ["ALL"]
  volumeMounts:
    - name: shared
      mountPath: {yaml_string(job.mount_path)}
    - name: shared-memory
      mountPath: /dev/shm"""
    if job.serves(task_type) and job.save_seconds:
        container_block += f"""
  # SIGTERM comes this much later here than to the chief, which needs this task while it saves.
  lifecycle:
    preStop:
      exec:
        command: ["sleep", "{job.save_seconds}"]"""
    tolerations = """\
# Nodes with GPUs are often tainted, so that nothing else runs there.
tolerations:
  - key: nvidia.com/gpu
    operator: Exists
    effect: NoSchedule
"""
    return f"""\
# From SIGTERM to SIGKILL: {job.save_seconds} s to save and exit 42, and some for the launcher to end.
terminationGracePeriodSeconds: {job.stop_seconds}
# Training does not talk to Kubernetes.
automountServiceAccountToken: false
enableServiceLinks: false
# The user of the image (`tfdml cluster --format=dockerfile`); fsGroup lets it write to the volume.
securityContext:
  runAsNonRoot: true
  runAsUser: {USER_ID}
  runAsGroup: {USER_ID}
  fsGroup: {USER_ID}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{tolerations if gpus else ""}containers:
  {indented(container_block, 2)}
volumes:
  # Checkpoints and logs: all tasks must see the same files, so the claim's access mode is
  # ReadWriteMany. It must be there already.
  - name: shared
    persistentVolumeClaim:
      claimName: {yaml_string(job.volume)}
  # Without it /dev/shm has 64 MB, too little for NCCL and for loaders with several processes.
  - name: shared-memory
    emptyDir:
      medium: Memory
      sizeLimit: {shared_memory_gib}Gi
"""


def network_policy(job: Job, labels: Mapping[str, str]) -> str:
    """A document: only pods with these labels, the job's own, reach them."""
    return f"""\
# TensorFlow's server listens on every interface and asks nobody who he is: whoever reaches the port can
# run code in the pod. So only pods of this job may. It needs a network plugin that enforces policies
# (Calico, Cilium, GKE Dataplane V2); others ignore it without a word. `kubectl port-forward` still works.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {job.name}
  namespace: {job.namespace}
spec:
  podSelector:
    matchLabels:
      {indented(yaml_mapping(labels), 6)}
  policyTypes: ["Ingress"]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              {indented(yaml_mapping(labels), 14)}
"""
