"""A proxy between the tasks: gRPC takes it from the environment, and the job waits for ever.

gRPC reads grpc_proxy, https_proxy and http_proxy, the first that is set, in lower case only, and exempts the
hosts that no_grpc_proxy, or else no_proxy, lists: ends of names, and networks
(https://grpc.github.io/grpc/core/md_doc_environment_variables.html). With a proxy even tasks on 127.0.0.1 look
for each other through it: tests/doctor/test_proxy.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from tfdml.cluster.resolver import host_of, shortened
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "proxies"
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXEMPT = ("no_grpc_proxy", "no_proxy")
_LOOPBACK = "127.0.0.1"  # What `tfdml launch --workers=N` uses.


def check(subject: Subject) -> Iterable[Finding]:
    name = next((name for name in _PROXIES if subject.environ.get(name)), None)
    if name is None:
        yield Finding(NAME, "ok", "none between the tasks")
        return
    cluster = subject.place.cluster
    hosts = {host_of(task.address): None for task in cluster.tasks()} or {_LOOPBACK: None}
    through = [host for host in hosts if not is_exempt(host, subject.environ)]
    if not through:
        yield Finding(NAME, "ok", f"{name} is set, and the tasks' hosts are exempt from it")
        return
    listed = shortened(", ".join(through))
    text = f"gRPC would send what is for {listed} through {name}={subject.environ[name]}, and wait for ever"
    yield Finding(
        NAME,
        "error",
        text,
        f"unset {name}, or set no_grpc_proxy={shortened(','.join(through))} for every task.",
    )


def is_exempt(host: str, environ: Mapping[str, str]) -> bool:
    """Whether gRPC reaches `host` without the proxy."""
    listed = next((environ[name] for name in _EXEMPT if environ.get(name)), "")
    return any(_covers(entry.strip(), host) for entry in listed.split(","))


def _covers(entry: str, host: str) -> bool:
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return host.lower().endswith(entry.lower())
