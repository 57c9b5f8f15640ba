"""Which entry of a list of hosts is the one that this process runs on.

Asks the kernel, not the HOSTNAME variable: Slurm and ssh carry that over from the submitting host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tfdml.cluster.resolver import Surroundings

_IPV4 = re.compile(r"[0-9]+(\.[0-9]+){3}")
_LOCAL_ADDRESS = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\s*\n\s*/32 host LOCAL")


def own_name(around: Surroundings) -> str:
    """This host's name, in a container the container's."""
    return (around.read("/proc/sys/kernel/hostname") or "").strip() or around.text("HOSTNAME")


def own_addresses(around: Surroundings) -> set[str]:
    """The IPv4 addresses of this host's interfaces, from the kernel's routing table."""
    table = around.read("/proc/net/fib_trie") or ""
    return {found for found in _LOCAL_ADDRESS.findall(table) if not found.startswith("127.")}


def find_own(hosts: Sequence[str], around: Surroundings) -> int | None:
    """The position of this host in `hosts`, names or IPv4 addresses; None where it is not clear.

    A name matches in full, or by its first label where one of the two is short, and that only if
    no other entry matches.
    """
    own = {own_name(around), around.text("PMIX_HOSTNAME")} - {""}
    full = [i for i, host in enumerate(hosts) if host in own]
    if not full:
        addresses = own_addresses(around)
        full = [i for i, host in enumerate(hosts) if host in addresses]
    if not full:
        full = [i for i, host in enumerate(hosts) if any(_alike(host, name) for name in own)]
    return full[0] if len(full) == 1 else None


def _alike(host: str, name: str) -> bool:
    """Whether one of two names is the other's first label."""
    if ("." in host and "." in name) or _IPV4.fullmatch(host) or _IPV4.fullmatch(name):
        return False
    return host.partition(".")[0] == name.partition(".")[0]
