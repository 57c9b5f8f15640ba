"""What to tell of the ports that tasks open: TensorFlow's server listens on every interface, for anybody."""

from __future__ import annotations

from collections.abc import Sequence

from tfdml.cluster.interfaces import reachable_addresses
from tfdml.cluster.resolver import shortened
from tfdml.cluster.spec import ClusterSpec

WHERE = "docs/cluster-secure.md"


def notice(tasks: Sequence[ClusterSpec], *, several_hosts: bool) -> str | None:
    """One sentence on the ports of `tasks`, this host's; None where nothing needs to be said.

    Tasks of one host have no business with the network, so only a public address is news there.
    """
    ports = [task.address.rpartition(":")[2] for task in tasks if task.address]
    public, private = reachable_addresses()
    if not ports or not (public or (private and several_hosts)):
        return None
    who = "everybody who can reach " + shortened(", ".join(public or private), 60)
    if public:
        who += ", a public address" if len(public) == 1 else ", public addresses"
    return (
        f"port {_ranges(ports)} of this host is open to {who}: TensorFlow's server listens on every "
        f"interface and asks for no password; {WHERE} says how to fence it."
    )


def _ranges(ports: Sequence[str]) -> str:
    """ "12345-12348" where they follow each other, else "43121, 45001"."""
    numbers = sorted(map(int, ports))
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))
