"""A TFJob of Kubeflow's training operator, which writes TF_CONFIG into every pod.

`restartPolicy: OnFailure`: by the operator's source (v1.9, pkg/util/train), `ExitCode` starts a task
again only after a status of 128 and more, so 42 would end the job; and a task that lost a peer ends
with status 1, which must start again as well. backoffLimit adds up the restarts of all containers.
"""

from __future__ import annotations

from tfdml.deploy.job import Job
from tfdml.deploy.pods import network_policy, pod_spec
from tfdml.deploy.quoting import indented
from tfdml.errors import PREEMPTED_STATUS

_REPLICA_TYPES = {"chief": "Chief", "worker": "Worker", "ps": "PS", "evaluator": "Evaluator"}


def generate(job: Job) -> str:
    """A manifest for `kubectl apply`. Raises `ConfigError` where the volume is not a claim's name."""
    # The operator gives all pods this label.
    policy = network_policy(job, {"training.kubeflow.org/job-name": job.name})
    replicas = "\n".join(
        _replica_spec(job, task_type, count) for task_type, count in job.task_counts.items()
    )
    # The operator ends the job when the sum reaches the limit, so it is one more than what is allowed.
    backoff_limit = job.max_restarts * job.num_tasks + 1
    success = "" if job.has_chief else "  # All workers have succeeded, and not only worker 0.\n"
    success += "" if job.has_chief else "  successPolicy: AllWorkers\n"
    return f"""\
# {job.num_tasks} task(s) of one training job, from `tfdml cluster --format=kubeflow`.
#
#   kubectl apply -f FILE
#   kubectl get tfjob --namespace={job.namespace} {job.name}
#   kubectl logs --namespace={job.namespace} --follow {job.name}-{next(iter(job.task_counts))}-0
#   kubectl delete -f FILE
#
# Needed beforehand: Kubeflow's training operator 1.x, an image with tfdml and the script
# (`tfdml cluster --format=dockerfile`), and the claim below, which all nodes can write to.
#
# To change the number of workers, change `replicas`: the operator tells all tasks in TF_CONFIG.

{policy}---
apiVersion: kubeflow.org/v1
kind: TFJob
metadata:
  name: {job.name}
  namespace: {job.namespace}
spec:
  # With true a task would not learn of the others.
  enableDynamicWorker: false
{success}  runPolicy:
    # {job.time_limit_minutes} minutes less the {job.save_seconds} s to save. Then pods get SIGTERM, and are deleted
    # with their logs. To go on: kubectl replace --force -f FILE
    activeDeadlineSeconds: {job.running_seconds}
    # The restarts of all containers added up, preemptions too: {job.max_restarts} of each task.
    backoffLimit: {backoff_limit}
    # Ends parameter servers and others that still run when the job has finished, and keeps the logs of
    # those that have ended.
    cleanPodPolicy: Running
    # Removes a finished TFJob with its pods and logs after a week.
    ttlSecondsAfterFinished: 604800
    # With a gang scheduler, so that all tasks start or none:
    # schedulingPolicy:
    #   minAvailable: {job.num_tasks}
  tfReplicaSpecs:
    {indented(replicas, 4)}
"""


def _replica_spec(job: Job, task_type: str, count: int) -> str:
    # The operator looks for a container and a port of these names.
    pod = pod_spec(job, task_type, variables={}, container="tensorflow", port_name="tfjob-port")
    return f"""\
{_REPLICA_TYPES[task_type]}:
  replicas: {count}
  # Also after status {PREEMPTED_STATUS}, preempted and saved. `ExitCode` would take {PREEMPTED_STATUS} for the end.
  restartPolicy: OnFailure
  template:
    spec:
      {indented(pod, 6)}"""
