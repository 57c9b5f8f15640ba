"""Which ports a job opens, and who can reach them.

TensorFlow's gRPC server listens on every interface, whatever address the cluster names, and asks nobody who
they are: a client can read and write files as this user (docs/cluster-secure.md, tests/doctor/test_exposure.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from tfdml.cluster.interfaces import reachable_addresses
from tfdml.cluster.resolver import host_of, shortened
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "open ports"
REMEDY = "Fence it with a firewall or a network of its own: docs/cluster-secure.md."


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
            REMEDY,
        )
    elif private:
        listed = shortened(", ".join(private))
        text = f"{when} {what} on {whom}: open to the networks of {listed}"
        yield Finding(NAME, "note", text, REMEDY)
    else:
        yield Finding(NAME, "ok", f"{when} {what}, and this host has no network but its own")
