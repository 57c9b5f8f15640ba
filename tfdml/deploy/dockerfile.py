"""A Dockerfile for the images that the Kubernetes and Compose files use."""

from __future__ import annotations

from tfdml.deploy.job import Job
from tfdml.deploy.pods import USER_ID
from tfdml.deploy.quoting import json_array


def generate(job: Job) -> str:
    """The text of a Dockerfile; `docker build` finds the script and a wheel of tfdml in its directory."""
    gpu = job.gpus_per_worker > 0
    extras = "recipes,gpu" if gpu else "recipes"
    mount_path = json_array(["install", "--directory", f"--owner={USER_ID}", f"--group={USER_ID}"])
    mount_path = mount_path[:-1] + ", " + json_array(["/workspace", job.mount_path])[1:]
    run_flags = "--gpus=all " if gpu else ""
    driver = """
# The libraries of CUDA come with TensorFlow, the driver from the host.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
"""
    return f"""\
# An image with tfdml, its native ops and this directory, from `tfdml cluster --format=dockerfile`.
#
#   python -m build --wheel              # in a copy of tfdml's repository: dist/tfdml-*.whl
#   docker build --tag {job.image} .
#   docker run --rm --init {run_flags}{job.image}     # one task, to see that it works
#
# `docker build` sends this whole directory: list what is not needed (.git, .venv, runs) in .dockerignore,
# but not dist, where the wheel is.
FROM python:3.11-slim-bookworm

# g++ compiles the native ops below, and again where they do not fit; `tini` is at the end of this file.
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends g++ tini \\
    && rm -rf /var/lib/apt/lists/*

# Not root: who breaks into the training is not root on the host's kernel either. The same number stands
# in the Kubernetes files. A new volume takes over the owner of the directory that it is mounted on.
RUN useradd --create-home --uid {USER_ID} tfdml
RUN {mount_path}

# Before the script, so that a change of the script does not install everything again. For other
# packages of your own add a requirements.txt here.
COPY dist/tfdml-*.whl /tmp/
RUN wheel=$(echo /tmp/tfdml-*.whl) && pip install --no-cache-dir "$wheel[{extras}]"
{driver if gpu else ""}
USER {USER_ID}:{USER_ID}
WORKDIR /workspace

# As the user that trains, because the library lies in its home. Without this step every container would
# compile for a minute at its start.
RUN tfdml build-ops

COPY --chown={USER_ID}:{USER_ID} . /workspace

# Process 1 must collect processes that lose their parent, which Python does not: tini does. Where the
# command of a pod takes its place, or `docker run --init` and Compose's `init: true` bring their own,
# nothing is lost: the launcher handles SIGTERM itself.
ENTRYPOINT ["/usr/bin/tini", "--"]
# On one host; Kubernetes and Compose files bring their own command.
CMD {json_array(job.launch_command)}
"""
