"""A plain list of hosts, in TFDML_HOSTS or in a host file, and each task started by hand or by ssh.

    TFDML_HOSTS=a:2,b:2          hosts and their numbers of tasks (1 where there is none)
    TFDML_HOSTFILE=hosts.txt     the same, one a line: `a slots=2` as for Open MPI, or `a:2`
    TFDML_NODE_INDEX=0           this host's position, where its own name or address is not in the list
    TFDML_LOCAL_INDEX=0          which of the tasks on this host, where it has several

`mpi.py` takes the same two lists for its ranks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.cluster import roles
from tfdml.cluster.own_host import find_own, own_name
from tfdml.cluster.resolver import Place, Surroundings, address, shortened
from tfdml.errors import ClusterError

LIST_VARIABLE, FILE_VARIABLE = "TFDML_HOSTS", "TFDML_HOSTFILE"
_ENTRY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:\[\],=]+)(?::(?P<slots>[0-9]+))?")
_SLOTS = re.compile(r"(?<![\w-])slots\s*=\s*([0-9]+)")


@dataclass(frozen=True)
class Host:
    """A host by the name that the other hosts reach it by, and how many tasks it has."""

    name: str
    slots: int = 1


def find(around: Surroundings) -> Place | str:
    """The place of a task on one of the listed hosts. Raises `ClusterError`."""
    hosts = listed(around)
    if hosts is None:
        return f"neither {LIST_VARIABLE} nor {FILE_VARIABLE} is set"
    node = _node_index(hosts, around)
    local = around.number("TFDML_LOCAL_INDEX")
    if local is None and hosts[node].slots > 1:
        raise ClusterError(
            f"host {hosts[node].name} has {hosts[node].slots} tasks, and TFDML_LOCAL_INDEX, which of "
            "them this is, is not set: set it, or start them all with `tfdml launch --hosts`."
        )
    local = local or 0
    if local >= hosts[node].slots:
        raise ClusterError(
            f"TFDML_LOCAL_INDEX={local}, but host {hosts[node].name} has {hosts[node].slots} "
            f"task(s): it must be from 0 to {hosts[node].slots - 1}."
        )
    addresses = addresses_of(hosts, around.port())
    own = sum(host.slots for host in hosts[:node]) + local
    return Place(roles.assign(addresses, own, around))


def listed(around: Surroundings) -> tuple[Host, ...] | None:
    """The hosts in TFDML_HOSTS or in the file that TFDML_HOSTFILE names; None without either."""
    text, path = around.text(LIST_VARIABLE), around.text(FILE_VARIABLE)
    if text and path:
        raise ClusterError(
            f"{LIST_VARIABLE}={shortened(text, 40)} and {FILE_VARIABLE}={path} are both set: unset one."
        )
    if text:
        return parse_list(text, LIST_VARIABLE)
    if path:
        content = around.read(path)
        if content is None:
            raise ClusterError(
                f"{FILE_VARIABLE}={path} cannot be read: give the path of a host file."
            )
        return parse_file(content, path)
    return None


def parse_list(text: str, name: str) -> tuple[Host, ...]:
    """Read "a:2,b": two tasks on host a, one on host b. `name` names the list in errors."""
    return _merged([_entry(part, name) for part in text.split(",")])


def parse_file(text: str, path: str) -> tuple[Host, ...]:
    """Read a host file: `name`, `name slots=8` or `name:8` a line, # for remarks.

    A host on several lines has the tasks of all of them, as in the node files of batch systems.
    """
    hosts = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        first, *rest = content.split(maxsplit=1)
        host = _entry(first, f"{path}, line {number}")
        slots = _SLOTS.search(rest[0]) if rest else None
        if rest and not slots and "max_slots" not in rest[0].replace("-", "_"):
            raise ClusterError(
                f"{path}, line {number}, must be like `a`, `a slots=2` or `a:2`, got {content!r}."
            )
        hosts.append(Host(host.name, int(slots[1])) if slots else host)
    if not hosts:
        raise ClusterError(f"{path} names no host: write one a line, like `a slots=2`.")
    return _merged(hosts)


def addresses_of(hosts: Sequence[Host], first_port: int) -> list[str]:
    """The addresses of all tasks, host by host; task i of a host has port `first_port` + i."""
    return [address(host.name, first_port + i) for host in hosts for i in range(host.slots)]


def _entry(text: str, name: str) -> Host:
    match = _ENTRY.fullmatch(text.strip())
    slots = int(match["slots"] or 1) if match else 0
    if not match or slots < 1:
        raise ClusterError(
            f"{name} must be HOST or HOST:TASKS with at least one task, like a:2 (an IPv6 address "
            f"in brackets), got {text.strip()!r}."
        )
    return Host(match["name"].strip("[]"), slots)


def _merged(hosts: Sequence[Host]) -> tuple[Host, ...]:
    slots: dict[str, int] = {}
    for host in hosts:
        slots[host.name] = slots.get(host.name, 0) + host.slots
    return tuple(Host(name, count) for name, count in slots.items())


def _node_index(hosts: Sequence[Host], around: Surroundings) -> int:
    names = [host.name for host in hosts]
    node = around.number("TFDML_NODE_INDEX")
    if node is None and len(hosts) == 1:
        node = 0
    if node is None:
        node = find_own(names, around)
    if node is None:
        raise ClusterError(
            f"none of the hosts {shortened(', '.join(names))} is clearly this one, "
            f"{own_name(around) or 'which has no name'}: set TFDML_NODE_INDEX to its position, from 0."
        )
    if node >= len(hosts):
        raise ClusterError(
            f"TFDML_NODE_INDEX={node}, but there are {len(hosts)} host(s), "
            f"{shortened(', '.join(names))}: it must be from 0 to {len(hosts) - 1}."
        )
    return node
