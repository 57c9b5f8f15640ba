"""A JobSet: an Indexed Job for each type of task, ended, limited and restarted together.

A worker cannot train on without the others, so when one is lost all start again from what they saved.
Kubernetes' Job tells a failure from a preemption by the exit status, and JobSet counts only failures.
"""

from __future__ import annotations

from tfdml.deploy.job import Job
from tfdml.deploy.pods import cluster_variables, network_policy, pod_spec
from tfdml.deploy.quoting import indented, yaml_mapping
from tfdml.errors import PREEMPTED_STATUS


def generate(job: Job) -> str:
    """A manifest for `kubectl apply`. Raises `ConfigError` where the volume is not a claim's name."""
    labels = {"app.kubernetes.io/name": "tfdml", "app.kubernetes.io/instance": job.name}
    # JobSet gives all pods this label.
    policy = network_policy(job, {"jobset.sigs.k8s.io/jobset-name": job.name})
    jobs = "\n".join(
        _replicated_job(job, labels, task_type, count)
        for task_type, count in job.task_counts.items()
    )
    return f"""\
# {job.num_tasks} task(s) of one training job, from `tfdml cluster --format=jobset`.
#
#   kubectl apply -f FILE
#   kubectl get jobset --namespace={job.namespace} {job.name}
#   kubectl logs --namespace={job.namespace} --follow job/{job.name}-{next(iter(job.task_counts))}-0
#   kubectl delete -f FILE
#
# Needed beforehand: JobSet 0.6 or newer (https://jobset.sigs.k8s.io) on Kubernetes 1.31 or newer, an
# image with tfdml and the script (`tfdml cluster --format=dockerfile`), and the claim below, which all
# nodes can write to.
#
# To change the number of workers, change their `completions` and `parallelism` and every
# TFDML_CLUSTER_WORKERS, or write the file anew.

{policy}---
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: {job.name}
  namespace: {job.namespace}
  labels:
    {indented(yaml_mapping(labels), 4)}
    # With Kueue, which starts all tasks or none: kueue.x-k8s.io/queue-name: QUEUE
spec:
  # The headless Service, which JobSet makes: pods are called like {job.name}-worker-0-1.{job.name}.
  network:
    enableDNSHostnames: true
    subdomain: {job.name}
    # Tasks look for each other before any of them is ready.
    publishNotReadyAddresses: true
  {indented(_success_policy(job), 2)}
  failurePolicy:
    # How often all tasks may start again after a failure.
    maxRestarts: {job.max_restarts}
    rules:
      # The time is over, tasks have saved, nothing starts again. To go on: kubectl replace --force -f FILE
      - name: outOfTime
        action: FailJobSet
        onJobFailureReasons: ["DeadlineExceeded"]
      # Preempted (see podFailurePolicy below): all start again, and nobody counts it.
      - name: preempted
        action: RestartJobSetAndIgnoreMaxRestarts
        onJobFailureReasons: ["PodFailurePolicy"]
  # Removes a finished JobSet with its pods and logs after a week.
  ttlSecondsAfterFinished: 604800
  replicatedJobs:
    {indented(jobs, 4)}
"""


def _success_policy(job: Job) -> str:
    """Who decides that the job is done: the chief that coordinates, or all that train."""
    if job.ps:
        who, reason = ["chief"], "Workers and parameter servers serve until the chief has finished."
    else:
        who = [task_type for task_type in job.task_counts if task_type != "evaluator"]
        reason = "Those that train; a running evaluator is ended then."
    names = ", ".join(f'"{name}"' for name in who)
    return f"""\
# {reason}
successPolicy:
  operator: All
  targetReplicatedJobs: [{names}]"""


def _replicated_job(job: Job, labels: dict[str, str], task_type: str, count: int) -> str:
    own_labels = {**labels, "app.kubernetes.io/component": task_type}
    pod = pod_spec(job, task_type, variables=cluster_variables(job, task_type))
    # The coordinator of parameter servers goes on without a worker that is lost, and takes it back.
    replaceable = job.serves(task_type) and task_type == "worker"
    action = "Ignore" if replaceable else "FailJob"
    what_follows = (
        "the pod is replaced, and the others go on meanwhile"
        if replaceable
        else "JobSet's rules above start all tasks again"
    )
    return f"""\
# The tasks are called by the job's name, so it is the type of the task.
- name: {task_type}
  replicas: 1
  template:
    spec:
      completionMode: Indexed
      completions: {count}
      parallelism: {count}
      backoffLimit: {job.max_restarts if replaceable else 0}
      # {job.time_limit_minutes} minutes less the {job.save_seconds} s to save, for each start. Then comes SIGTERM.
      activeDeadlineSeconds: {job.running_seconds}
      # No failures: a task that was preempted, has saved and exited {PREEMPTED_STATUS}, and a pod that Kubernetes
      # took away (drained node, preemption). Then {what_follows}.
      podFailurePolicy:
        rules:
          - action: {action}
            onExitCodes:
              containerName: tfdml
              operator: In
              values: [{PREEMPTED_STATUS}]
          - action: {action}
            onPodConditions:
              - type: DisruptionTarget
                status: "True"
      template:
        metadata:
          labels:
            {indented(yaml_mapping(own_labels), 12)}
        spec:
          restartPolicy: Never
          {indented(pod, 10)}"""
