"""A Cloud TPU slice: a shell script of gcloud commands that makes it, runs the job and deletes it.

Written from gcloud's own help and the documentation; nobody has run it on a TPU yet.
"""

from __future__ import annotations

import shlex

from tfdml.deploy.job import Job
from tfdml.errors import PREEMPTED_STATUS, ConfigError


def generate(job: Job) -> str:
    """A bash script. Raises `ConfigError` for what a TPU slice does not have."""
    _check(job)
    # Quoted twice: for the shell of the TPU's host, and then for this script.
    remote = shlex.join(job.launch_command)
    shared = job.volume
    if not shared.startswith(("gs://", "/")) and ":/" not in shared:
        shared = f"gs://{shared}"  # A plain name is a bucket's.
    port = "" if job.port is None else f" TFDML_CLUSTER_PORT={job.port}"
    return f"""\
#!/usr/bin/env bash
# One training job on a slice of Cloud TPUs, from `tfdml cluster --format=tpu`.
#
#   bash FILE             make the slice, install, run, and delete the slice when it has finished
#   bash FILE create      one step at a time: create, install, run, delete
#
# Needed beforehand: `gcloud auth login`, `gcloud config set project PROJECT`, a quota for the TPU, and
# in this directory the script and dist/tfdml-*.whl (`python -m build` makes it).
# Written from the documentation: nobody has run it on a TPU yet.
set -euo pipefail

# --- what to change; each can also be set for one call, like ZONE=us-east5-a bash FILE ---------------
NAME=${{NAME:-{job.name}}}
ZONE=${{ZONE:-us-central2-b}}
# {job.workers} host(s) with 4 chips each. `gcloud compute tpus accelerator-types list` has others.
ACCELERATOR_TYPE=${{ACCELERATOR_TYPE:-v4-{8 * job.workers}}}
RUNTIME_VERSION=${{RUNTIME_VERSION:-v2-alpha-tpuv4}}
# 1: cheaper, and taken away at any time; the script then makes the slice again and goes on.
SPOT=${{SPOT:-0}}
# TensorFlow for TPUs is a package of its own. tfdml is tested with 2.21; 2.20 was the newest for TPUs.
TENSORFLOW_TPU=${{TENSORFLOW_TPU:-tensorflow-tpu==2.20.*}}
# What all hosts share for checkpoints: gs://BUCKET (by gcsfuse), HOST:/EXPORT (NFS, such as Filestore),
# or a directory that is there already.
SHARED=${{SHARED:-{_quoted_default(shared)}}}
MOUNT={shlex.quote(job.mount_path)}
MAX_RESTARTS=${{MAX_RESTARTS:-{job.max_restarts}}}
# Seconds until SIGTERM, all starts together: {job.time_limit_minutes} minutes less the {job.save_seconds} s to save.
RUNNING_SECONDS={job.running_seconds}
STOP_SECONDS={job.stop_seconds}

# The job, as a command for the shell of the TPU's hosts. Every host runs it and finds the others by
# the metadata of its VM.
# shellcheck disable=SC2016  # Quoted on purpose: `$` in it is for the script to read.
LAUNCH={shlex.quote(remote)}

# TensorFlow's server listens on every interface and asks nobody who he is: keep the firewall of the
# VPC closed to port 8470 and above from outside (docs/cluster-secure.md).

on_all_hosts() {{
  gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}}

state() {{
  gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" \\
    --format='value(state.state)' 2>/dev/null || true
}}

create() {{
  local spot=()
  if [ "$SPOT" = 1 ]; then spot=(--spot); fi
  gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \\
    --accelerator-type="$ACCELERATOR_TYPE" --runtime-version="$RUNTIME_VERSION" "${{spot[@]}}"
  # The queue may take minutes or days.
  until [ "$(state)" = ACTIVE ]; do
    case "$(state)" in
      FAILED | SUSPENDED) echo "the TPU was not granted: $(state)" >&2; return 1 ;;
    esac
    echo "waiting for the TPU: $(state)"
    sleep 30
  done
}}

install() {{
  # One archive to all hosts. The wheel must be in it, at dist/.
  local archive
  archive=$(mktemp)
  tar --exclude=./.git --exclude='./.venv*' --exclude=./runs -czf "$archive" .
  gcloud compute tpus tpu-vm scp "$archive" "$NAME":tfdml-job.tar.gz --zone="$ZONE" --worker=all
  rm -f "$archive"
  # uv, because the VMs' own Python may be older than 3.11.
  on_all_hosts "set -e
    mkdir -p ~/job && tar -xzf ~/tfdml-job.tar.gz -C ~/job
    command -v ~/.local/bin/uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
    ~/.local/bin/uv venv --allow-existing --python 3.11 ~/venv
    ~/.local/bin/uv pip install --python ~/venv/bin/python ~/job/dist/tfdml-*.whl
    ~/.local/bin/uv pip uninstall --python ~/venv/bin/python tensorflow
    ~/.local/bin/uv pip install --python ~/venv/bin/python $(printf %q "$TENSORFLOW_TPU") \\
      --find-links https://storage.googleapis.com/libtpu-tf-releases/index.html"
  local mount bucket
  case "$SHARED" in
    gs://*)
      bucket=${{SHARED#gs://}}
      # As https://cloud.google.com/storage/docs/cloud-storage-fuse/install says.
      mount="command -v gcsfuse >/dev/null || {{
          curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg |
            sudo tee /usr/share/keyrings/cloud.google.asc >/dev/null
          echo deb [signed-by=/usr/share/keyrings/cloud.google.asc] \\
            https://packages.cloud.google.com/apt gcsfuse-\\$(lsb_release -cs) main |
            sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
          sudo apt-get update -qq && sudo apt-get install -y -qq gcsfuse
        }}
        sudo chown \\$(id -u) $(printf %q "$MOUNT")
        gcsfuse --implicit-dirs $(printf %q "$bucket") $(printf %q "$MOUNT")"
      ;;
    *:/*)
      mount="sudo apt-get install -y -qq nfs-common
        sudo mount -t nfs $(printf %q "$SHARED") $(printf %q "$MOUNT")"
      ;;
    *) mount="test -d $(printf %q "$SHARED") && sudo mount --bind $(printf %q "$SHARED") $(printf %q "$MOUNT")" ;;
  esac
  on_all_hosts "set -e
    sudo mkdir -p $(printf %q "$MOUNT")
    mountpoint -q $(printf %q "$MOUNT") && exit 0
    $mount"
}}

run() {{
  local failures=0 status left end=$((SECONDS + RUNNING_SECONDS))
  while true; do
    left=$((end - SECONDS))
    if [ "$left" -le 0 ]; then
      echo "the time is over, and tasks have saved: call this script again to go on" >&2
      return {PREEMPTED_STATUS}
    fi
    status=0
    # `timeout` sends SIGTERM, tasks save, and SIGKILL follows only where they do not end.
    on_all_hosts "cd ~/job && export PATH=~/venv/bin:\\$PATH TFDML_CLUSTER=tpu{port} &&
      timeout --preserve-status --signal=TERM --kill-after=$STOP_SECONDS $left $LAUNCH" || status=$?
    if [ "$status" -eq 0 ]; then return 0; fi
    # {PREEMPTED_STATUS} is no failure: preempted, or out of time, and saved.
    if [ "$status" -ne {PREEMPTED_STATUS} ]; then
      failures=$((failures + 1))
      if [ "$failures" -gt "$MAX_RESTARTS" ]; then
        echo "failed $failures time(s), the last with status $status" >&2
        return "$status"
      fi
    fi
    echo "status $status: starting again from what was saved"
    # A spot slice that was taken away cannot be started again.
    if [ "$(state)" != ACTIVE ]; then
      delete || true
      create
      install
    fi
  done
}}

delete() {{
  gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet
}}

case "${{1:-all}}" in
  create | install | run | delete) "$1" ;;
  all)
    # The slice costs money until it is deleted, however this ends.
    trap delete EXIT
    create
    install
    run
    ;;
  *) echo "usage: bash $0 [create | install | run | delete]" >&2; exit 2 ;;
esac
"""


def _check(job: Job) -> None:
    if job.has_chief or job.evaluator:
        raise ConfigError(
            "`chief`, `ps` and `evaluator` are no tasks of a TPU slice, which has workers only, got "
            f"{', '.join(job.task_counts)}: leave them out."
        )
    if job.gpus_per_worker:
        raise ConfigError(
            f"`gpus_per_worker` must be 0 on a TPU slice, got {job.gpus_per_worker}: leave it out."
        )
    if job.workers & (job.workers - 1):
        raise ConfigError(
            "`workers` must be the number of hosts of a TPU slice, which is 1, 2, 4, 8, ..., got "
            f"{job.workers}."
        )


def _quoted_default(text: str) -> str:
    r"""A text in ${NAME:-...}, which is not quoted itself: there, single quotes work as elsewhere."""
    return shlex.quote(text)
