"""Plain Kubernetes: a StatefulSet for each type of task, a headless Service and a NetworkPolicy.

It needs nothing installed in the cluster, but a StatefulSet is made for servers: it has no end, no time
limit and no limit of restarts. Where JobSet is installed, `jobset.py` is the better choice.
"""

from __future__ import annotations

from tfdml.deploy.job import Job
from tfdml.deploy.pods import cluster_variables, network_policy, pod_spec, port_of
from tfdml.deploy.quoting import indented, yaml_mapping

# `sh` is the container's process 1, which must hand SIGTERM on by itself. A signal ends `wait` before
# the child has ended, hence the loop.
_WRAPPER = """\
# Runs the launcher, hands SIGTERM on to it, and keeps the pod when it has succeeded: a StatefulSet
# would start a container that has ended again, and so train again.
child=
trap 'kill -TERM "$child" 2>/dev/null' TERM
"$@" &
child=$!
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done
# Also 42, preempted and saved: Kubernetes starts the container again, and training goes on.
if [ "$status" -ne 0 ]; then exit "$status"; fi
trap 'exit 0' TERM
echo "finished; kubectl delete -f this file when all tasks have"
sleep infinity &
wait
"""


def generate(job: Job) -> str:
    """A manifest for `kubectl apply`. Raises `ConfigError` where the volume is not a claim's name."""
    labels = {"app.kubernetes.io/name": "tfdml", "app.kubernetes.io/instance": job.name}
    header = f"""\
# {job.num_tasks} task(s) of one training job, from `tfdml cluster --format=kubernetes`.
#
#   kubectl apply -f FILE
#   kubectl logs --namespace={job.namespace} --follow {job.name}-{next(iter(job.task_counts))}-0
#   kubectl delete -f FILE        # when it has finished; until then the pods keep their GPUs
#
# Needed beforehand: an image with tfdml and the script (`tfdml cluster --format=dockerfile`), and the
# claim below, which all nodes can write to. A StatefulSet has no time limit, and a task that fails
# starts again for ever: `--format=jobset` has limits for both, where JobSet is installed.
#
# To change the number of workers, change `replicas` and every TFDML_CLUSTER_WORKERS, or write the
# file anew.

"""
    documents = [header + _service(job, labels), network_policy(job, labels)]
    documents += [
        _stateful_set(job, labels, task_type, count) for task_type, count in job.task_counts.items()
    ]
    return "---\n".join(documents)


def _service(job: Job, labels: dict[str, str]) -> str:
    return f"""\
# Gives each pod a name, like {job.name}-worker-0.{job.name}.
apiVersion: v1
kind: Service
metadata:
  name: {job.name}
  namespace: {job.namespace}
  labels:
    {indented(yaml_mapping(labels), 4)}
spec:
  clusterIP: None
  # Tasks look for each other before any of them is ready.
  publishNotReadyAddresses: true
  selector:
    {indented(yaml_mapping(labels), 4)}
  ports:
    - name: tensorflow
      port: {port_of(job)}
"""


def _stateful_set(job: Job, labels: dict[str, str], task_type: str, count: int) -> str:
    own_labels = {**labels, "app.kubernetes.io/component": task_type}
    pod = pod_spec(job, task_type, variables=cluster_variables(job, task_type), wrapper=_WRAPPER)
    return f"""\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  # The name's end is the type of the tasks: pods are called {job.name}-{task_type}-0 and so on.
  name: {job.name}-{task_type}
  namespace: {job.namespace}
  labels:
    {indented(yaml_mapping(own_labels), 4)}
spec:
  serviceName: {job.name}
  replicas: {count}
  # All at once: one after the other, the first would wait for the second to be there.
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {indented(yaml_mapping(own_labels), 6)}
  template:
    metadata:
      labels:
        {indented(yaml_mapping(own_labels), 8)}
    spec:
      {indented(pod, 6)}
"""
