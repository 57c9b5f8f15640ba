"""Docker Compose: a service for each task, all on one host, found by TFDML_HOSTS."""

from __future__ import annotations

import re

from tfdml.deploy.job import Job
from tfdml.deploy.quoting import indented, yaml_items, yaml_mapping, yaml_string
from tfdml.errors import PREEMPTED_STATUS, ConfigError

_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def generate(job: Job) -> str:
    """A compose.yaml. Raises `ConfigError` where the volume is neither a name nor a directory."""
    directory = job.volume.startswith(("/", "./", "../", "~/"))
    if not directory and not _VOLUME_NAME.fullmatch(job.volume):
        raise ConfigError(
            "`volume` must be the name of a volume (letters, digits, _ . and -) or a directory, which "
            f"begins with /, ./, ../ or ~/, got {job.volume!r}."
        )
    names = [f"{kind}-{i}" for kind, count in job.task_counts.items() for i in range(count)]
    variables = {
        "TFDML_CLUSTER": "hosts",
        "TFDML_HOSTS": ",".join(names),
        "TFDML_CLUSTER_CHIEF": str(int(job.has_chief)),
        "TFDML_CLUSTER_PS": str(job.ps),
        "TFDML_CLUSTER_EVALUATOR": str(int(job.evaluator)),
    }
    if job.port is not None:
        variables["TFDML_CLUSTER_PORT"] = str(job.port)
    serving = [name for name in names if job.serves(name.rpartition("-")[0])]
    remark = f"""
# Workers and parameter servers serve until they are stopped: `down` when {names[0]} has finished.
#"""
    volume = f"""\
- type: {"bind" if directory else "volume"}
  source: {yaml_string(job.volume.replace("$", "$$"))}
  target: {yaml_string(job.mount_path.replace("$", "$$"))}"""
    shared_memory_gib = max(1, min(job.memory_gib_per_worker // 2, 16))
    return f"""\
# {job.num_tasks} task(s) of one training job on this host, from `tfdml cluster --format=compose`.
#
#   docker compose --file FILE up
#   docker compose --file FILE logs --follow {names[0]}
#   docker compose --file FILE stop      # tasks save first
#   docker compose --file FILE down
#{remark if serving else ""}
# Compose has no time limit. To save and stop {job.save_seconds} s before {job.time_limit_minutes} minutes are over:
#   timeout {job.running_seconds} docker compose --file FILE up
#
# Needed beforehand: an image with tfdml and the script (`tfdml cluster --format=dockerfile`).
# `$` of the command is written twice, because Compose would replace ${{NAME}}.
name: {job.name}

x-task: &task
  image: {yaml_string(job.image)}
  # To build it from the Dockerfile beside this file: build: .
  entrypoint:
    {indented(yaml_items(job.launch_command[:1]), 4)}
  command:
    {indented(yaml_items(job.launch_command[1:]), 4)}
  environment:
    # How tfdml finds the other tasks: docs/clusters.md. The services below, in this order.
    {indented(yaml_mapping(variables), 4)}
  # A small process 1 that hands SIGTERM on and collects what a task leaves behind.
  init: true
  # From SIGTERM to SIGKILL: {job.save_seconds} s to save and exit {PREEMPTED_STATUS}, and some for the launcher.
  stop_grace_period: {job.stop_seconds}s
  # After a failure, and after status {PREEMPTED_STATUS}, preempted and saved; not after `stop`.
  restart: {yaml_string(f"on-failure:{job.max_restarts}" if job.max_restarts else "no")}
  # Without it /dev/shm has 64 MB, too little for NCCL and for loaders with several processes.
  shm_size: {shared_memory_gib}gb
  volumes:
    {indented(volume, 4)}
  # TensorFlow's server listens on every interface and asks nobody who he is. There are no `ports:`, so
  # only containers of this file's network reach it: do not publish any, and no `network_mode: host`.

services:
  {indented(_services(job, serving), 2)}
{"" if directory else _named_volume(job.volume)}"""


def _services(job: Job, serving: list[str]) -> str:
    depends_on = f"""
  # `stop` ends these after it, because it needs them while it saves.
  depends_on: [{", ".join(serving)}]"""
    blocks = []
    first_gpu = 0
    for task_type, count in job.task_counts.items():
        gpus = job.gpus_of(task_type)
        for index in range(count):
            name = f"{task_type}-{index}"
            block = f"""\
{name}:
  <<: *task
  hostname: {name}{depends_on if task_type == "chief" and serving else ""}
  deploy:
    resources:
      limits:
        # Docker refuses more than the host has.
        cpus: {yaml_string(str(job.cpus_per_worker))}
        memory: {job.memory_gib_per_worker}gb"""
            if gpus:
                devices = ", ".join(f'"{first_gpu + i}"' for i in range(gpus))
                first_gpu += gpus
                block += f"""
      reservations:
        devices:
          # This task's own GPUs of the host; needs the NVIDIA Container Toolkit.
          - driver: nvidia
            device_ids: [{devices}]
            capabilities: ["gpu"]"""
            blocks.append(block)
    return "\n".join(blocks)


def _named_volume(name: str) -> str:
    return f"""
volumes:
  # Outlives `down`; `docker compose down --volumes` deletes it with all checkpoints.
  {yaml_string(name)}: {{}}
"""
