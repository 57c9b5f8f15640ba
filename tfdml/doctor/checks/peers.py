"""Whether every task's host has an address, can be reached, and which ports are taken already."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import psutil

from tfdml.cluster.ports import is_free
from tfdml.cluster.resolver import host_of, shortened
from tfdml.cluster.spec import ClusterSpec
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "tasks"
CONNECT_SECONDS = 2.0
NAME_SECONDS = 10.0  # A resolver's own limit: two servers, two attempts.
_THREADS = 32
_NAME_REMEDY = (
    "Correct it where the cluster is described, or add it to DNS or /etc/hosts of every host."
)
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


Result = TypeVar("Result")


@dataclass(frozen=True)
class Peer:
    """One task as it was found: `state` is one of listening, quiet, silent, unreachable, unknown, self."""

    task: str
    address: str
    state: str
    detail: str = ""


def check(subject: Subject) -> Iterable[Finding]:
    cluster = subject.place.cluster
    if cluster.is_local:
        yield Finding(NAME, "ok", "none but this process")
        return
    tasks = list(cluster.tasks())
    yield from _own_ports(cluster, tasks)
    yield from _own_name(cluster)
    own_host = host_of(cluster.address)
    others = [task for task in tasks if host_of(task.address) != own_host]
    peers = look_at(others)
    by_state: dict[str, list[Peer]] = {}
    for peer in peers:
        by_state.setdefault(peer.state, []).append(peer)
    for peer in by_state.get("unknown", []):
        yield Finding(
            NAME,
            "error",
            f"{peer.task}: the name {host_of(peer.address)!r} is unknown here ({peer.detail})",
            _NAME_REMEDY,
        )
    for peer in by_state.get("self", []):
        yield Finding(
            NAME,
            "error",
            f"{peer.task}: the name {host_of(peer.address)!r} means {peer.detail}, which is this host itself",
            "Correct /etc/hosts or DNS: each host must be known by an address that the others can reach.",
        )
    for state, what in (("silent", "does not answer"), ("unreachable", "cannot be reached")):
        for peer in by_state.get(state, []):
            yield Finding(
                NAME,
                "error",
                f"{peer.task} at {peer.address} {what} ({peer.detail})",
                "Start that host, or let this port through between the hosts: docs/cluster-secure.md.",
            )
    quiet = by_state.get("quiet", [])
    if quiet:
        listed = shortened(", ".join(f"{peer.task} at {peer.address}" for peer in quiet))
        text = f"reached, and nothing listens there yet, as before a job: {listed}"
        yield Finding(NAME, "note", text)
    listening = by_state.get("listening", [])
    if listening:
        listed = shortened(", ".join(f"{peer.task} at {peer.address}" for peer in listening))
        yield Finding(NAME, "ok", f"listening already: {listed}")


def look_at(tasks: Sequence[ClusterSpec]) -> list[Peer]:
    """Look up and connect to the address of every task, many at a time."""
    rounds = -(-len(tasks) // _THREADS)
    calls = [lambda t=task: _look(t.task_name, t.address) for task in tasks]
    found = _within(NAME_SECONDS + rounds * CONNECT_SECONDS, calls)
    no_answer = f"no answer about it in {NAME_SECONDS:g} s"
    return [
        peer or Peer(task.task_name, task.address, "silent", no_answer)
        for peer, task in zip(found, tasks, strict=True)
    ]


def _within(seconds: float, calls: Sequence[Callable[[], Result]]) -> list[Result | None]:
    """What each call returns, None for those that take longer: nobody can interrupt a look-up."""
    pool = ThreadPoolExecutor(_THREADS)  # Not a `with` block, which would wait for them.
    futures = [pool.submit(call) for call in calls]
    done, _ = wait(futures, timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return [future.result() if future in done else None for future in futures]


def _look(task: str, address: str) -> Peer:
    host, port = host_of(address), int(address.rpartition(":")[2])
    addresses = _addresses(host)
    if isinstance(addresses, str):
        return Peer(task, address, "unknown", addresses)
    # A name other than localhost for the loopback interface: Debian gives a host's own name to 127.0.1.1.
    if host not in ("localhost", *addresses) and all(map(_is_loopback, addresses)):
        return Peer(task, address, "self", min(addresses))
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return Peer(task, address, "quiet")
    except TimeoutError:
        return Peer(task, address, "silent", f"nothing came back within {CONNECT_SECONDS:g} s")
    except OSError as error:
        state = "unreachable" if error.errno in _UNREACHABLE else "silent"
        return Peer(task, address, state, error.strerror or str(error))
    return Peer(task, address, "listening")


def _own_name(cluster: ClusterSpec) -> Iterator[Finding]:
    """Whether this task's address is one of this host's."""
    host = host_of(cluster.address)
    if not host:
        return
    (found,) = _within(NAME_SECONDS, [lambda: _addresses(host)])
    if not isinstance(found, set):
        detail = found or f"no answer about it in {NAME_SECONDS:g} s"
        text = f"this task's own name {host!r} is unknown here ({detail})"
        yield Finding(NAME, "error", text, _NAME_REMEDY)
    elif not found & own_addresses() and not all(map(_is_loopback, found)):
        yield Finding(
            NAME,
            "warning",
            f"this task is to be found at {host!r}, which means {', '.join(sorted(found))}, no address of this "
            "host: the others would look for it elsewhere",
            "Start each task on the host that the cluster gives it; behind a forwarded port this is right.",
        )


def _addresses(host: str) -> set[str] | str:
    """The addresses of a name, or why it has none."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)


def own_addresses() -> set[str]:
    """Those of all interfaces, without zones."""
    every = (entry for entries in psutil.net_if_addrs().values() for entry in entries)
    return {entry.address.partition("%")[0] for entry in every}


def _own_ports(cluster: ClusterSpec, tasks: Sequence[ClusterSpec]) -> Iterator[Finding]:
    """Ports of this host's tasks that somebody else has."""
    own_host = host_of(cluster.address)
    own = [task for task in tasks if own_host and host_of(task.address) == own_host]
    taken = [task for task in own if not is_free(int(task.address.rpartition(":")[2]))]
    for task in taken:
        port = task.address.rpartition(":")[2]
        yield Finding(
            NAME,
            "error",
            f"port {port} of this host, for {task.task_name}, is taken (by the job itself, if it runs now)",
            f"`ss -ltnp 'sport = :{port}'` shows by whom. End that, or choose another port for all tasks: "
            "TFDML_CLUSTER_PORT, or the cluster's description.",
        )
    if own and not taken:
        ports = ", ".join(task.address.rpartition(":")[2] for task in own)
        yield Finding(NAME, "ok", f"port(s) {shortened(ports, 60)} of this host are free")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
