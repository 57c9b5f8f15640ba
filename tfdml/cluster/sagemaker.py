"""A training job of Amazon SageMaker: one container a host, each of them a worker.

The training toolkit sets SM_*; an image without it finds the same in resourceconfig.json. SageMaker puts
the hosts into the same order on all of them. Jobs for which it sets TF_CONFIG are read from there.
"""

from __future__ import annotations

import json
from typing import Any

from tfdml.cluster import roles
from tfdml.cluster.resolver import Place, Surroundings, address, shortened
from tfdml.errors import ClusterError

CONFIG_FILE = "/opt/ml/input/config/resourceconfig.json"


def find(around: Surroundings) -> Place | str:
    """The place of a container of a training job. Raises `ClusterError`."""
    if not around.text("SM_HOSTS", "SM_RESOURCE_CONFIG", "TRAINING_JOB_NAME", "TRAINING_JOB_ARN"):
        return "SM_HOSTS and TRAINING_JOB_NAME are not set"
    source, config = _config(around)
    if config is None:
        return f"TRAINING_JOB_NAME is set, but there is no {CONFIG_FILE}"
    hosts, own = config.get("hosts"), config.get("current_host")
    if not isinstance(hosts, list) or not hosts or not all(isinstance(h, str) and h for h in hosts):
        raise ClusterError(
            f"the hosts in {source} must be a JSON list of names, got {shortened(json.dumps(hosts))}."
        )
    if own not in hosts:
        raise ClusterError(
            f"the current host in {source} must be one of {shortened(', '.join(hosts))}, got {own!r}."
        )
    port = around.port()
    cluster = roles.assign([address(host, port) for host in hosts], hosts.index(own), around)
    return Place(cluster, gpus=_gpus(around))


def _config(around: Surroundings) -> tuple[str, dict[str, Any] | None]:
    """Where the list of hosts stands, and what it says; None without one."""
    if around.text("SM_HOSTS"):
        hosts = _parse(around.text("SM_HOSTS"), "SM_HOSTS")
        return "SM_HOSTS", {"hosts": hosts, "current_host": around.text("SM_CURRENT_HOST")}
    source = "SM_RESOURCE_CONFIG"
    text = around.text(source)
    if not text:
        source, text = CONFIG_FILE, around.read(CONFIG_FILE) or ""
    if not text:
        return source, None
    config = _parse(text, source)
    if not isinstance(config, dict):
        raise ClusterError(f"{source} must be a JSON object, got {shortened(text)!r}.")
    return source, config


def _parse(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ClusterError(f"{source} is not valid JSON ({error}): {shortened(text)!r}.") from None


def _gpus(around: Surroundings) -> tuple[str, ...] | None:
    count = around.number("SM_NUM_GPUS")
    return None if count is None else tuple(str(index) for index in range(count))
