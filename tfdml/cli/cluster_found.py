"""What `tfdml cluster` says of the cluster that is here: one function per format, and --explain."""

from __future__ import annotations

import json
import os
import shlex
import sys

from tfdml.cluster import order
from tfdml.cluster.resolver import Place, Surroundings, host_of
from tfdml.errors import USAGE_STATUS

FOUND_FORMATS = {
    "tf_config": "the value of TF_CONFIG for this task (the default)",
    "env": "lines of `export NAME=value`, to be read by a shell",
    "hosts": "hosts with their numbers of tasks, as --hosts and TFDML_HOSTS take them",
    "json": "all of it, and what is known of this host",
}


def explain(platform: str | None) -> tuple[str, int]:
    """A line for each platform that was tried, and the exit status."""
    around = Surroundings(os.environ)
    tried = order.explain(around) if platform is None else list(order.walk(around, platform))
    rows = [
        (
            platform or each.name,
            "error" if each.error is not None else "applies" if each.applies else "-",
            each.reason,
        )
        for each in tried
    ]
    width = max(len(name) for name, _, _ in rows) + 2
    lines = [f"{name:<{width}}{verdict:<9}{reason}" for name, verdict, reason in rows]
    failed = any(each.error is not None for each in tried)
    return "\n".join(lines), USAGE_STATUS if failed else 0


def _tf_config(place: Place) -> str:
    if place.cluster.is_local:
        # Empty, so that TF_CONFIG="$(tfdml cluster)" is right here too: it counts as not set.
        print("tfdml cluster: a single task, which has no TF_CONFIG", file=sys.stderr)
        return ""
    return place.cluster.to_tf_config()


def _env(place: Place) -> str:
    if place.cluster.is_local:
        variables = {"TFDML_CLUSTER": "local"}
    else:
        variables = {"TF_CONFIG": place.cluster.to_tf_config()}
    gpus = None if place.gpus is None else ",".join(place.gpus) or "-1"
    if gpus is not None and os.environ.get("CUDA_VISIBLE_DEVICES") != gpus:
        variables["CUDA_VISIBLE_DEVICES"] = gpus
    return "\n".join(f"export {name}={shlex.quote(text)}" for name, text in variables.items())


def _hosts(place: Place) -> str:
    counts: dict[str, int] = {}
    for task in place.cluster.tasks():
        host = host_of(task.address)
        host = f"[{host}]" if ":" in host else host
        counts[host] = counts.get(host, 0) + 1
    return ",".join(f"{host}:{count}" for host, count in counts.items()) or "localhost:1"


def _json(place: Place) -> str:
    found = place.cluster
    return json.dumps(
        {
            "platform": place.platform,
            "cluster": {job: list(addresses) for job, addresses in found.jobs.items()},
            "task": {"type": found.task_type, "index": found.task_index},
            "is_chief": found.is_chief,
            "host": place.host,
            "local_index": place.local_index,
            "tasks_on_host": place.tasks_on_host,
            "gpus": None if place.gpus is None else list(place.gpus),
        },
        indent=2,
    )


FORMATTERS = {"tf_config": _tf_config, "env": _env, "hosts": _hosts, "json": _json}
