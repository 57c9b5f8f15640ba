"""Which ports a job opens, and who can reach them.

TensorFlow's gRPC server listens on every interface, whatever address the cluster names, and asks nobody who
they are: a client can read and write files as this user (docs/cluster-secure.md, tests/doctor/test_exposure.py).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import psutil

from tfdml.cluster.resolver import host_of, shortened
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "open ports"
_REMEDY = "Fence it with a firewall or a network of its own: docs/cluster-secure.md."


def check(subject: Subject) -> Iterable[Finding]:
    cluster = subject.place.cluster
    own_host = host_of(cluster.address)
    own = [task.address for task in cluster.tasks() if host_of(task.address) == own_host]
    ports = [address.rpartition(":")[2] for address in own if own_host]
    what = f"port(s) {shortened(', '.join(ports), 60)}" if ports else "a free port for each task"
    when = "a job opens" if ports else "a job of several tasks, also on this host alone, opens"
    public, private = reachable_addresses()
    whom = "every interface, and TensorFlow's server asks nobody who they are"
    if public:
        yield Finding(
            NAME,
            "warning",
            f"{when} {what} on {whom}: {shortened(', '.join(public))} is public, and whoever reaches the "
            "port there can run what they like as this user",
            _REMEDY,
        )
    elif private:
        listed = shortened(", ".join(private))
        text = f"{when} {what} on {whom}: open to the networks of {listed}"
        yield Finding(NAME, "note", text, _REMEDY)
    else:
        yield Finding(NAME, "ok", f"{when} {what}, and this host has no network but its own")


def reachable_addresses() -> tuple[list[str], list[str]]:
    """The addresses of this host's interfaces that are up: public ones, and those of private networks."""
    up = {name for name, status in psutil.net_if_stats().items() if status.isup}
    public: list[str] = []
    private: list[str] = []
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if name not in up or entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ipaddress.ip_address(entry.address.partition("%")[0])
            if address.is_loopback or address.is_link_local:
                continue
            (public if address.is_global else private).append(str(address))
    return public, private
