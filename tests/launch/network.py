"""Hosts to run launchers on: network namespaces on one bridge, with names of their own.

Each has an address, a host name and an /etc/hosts of its own, so that a resolver finds there what it would
find on a real host. They are gone when the block ends, with everything that runs in them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

LINK = "ve0"
_NET = "10.213.7"
_ENTER = 'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Host:
    """A namespace; `within` is the command that runs another one there, `address` what it is reached by."""

    namespace: str
    address: str
    name: str
    hosts_file: str

    @property
    def within(self) -> list[str]:
        enter = ["sh", "-c", _ENTER, "sh", self.hosts_file, self.name]
        return ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts", *enter]

    def cut(self) -> None:
        """Take its link down: nothing arrives any longer, and nobody is told."""
        ip("-n", self.namespace, "link", "set", LINK, "down")

    def cannot_reach(self, other: Host) -> None:
        """What it sends to `other`, and only that, gets lost."""
        nowhere = ("lladdr", "02:00:00:00:00:99", "dev", LINK, "nud", "permanent")
        ip("-n", self.namespace, "neighbour", "replace", other.address, *nowhere)


@contextmanager
def hosts(
    directory: Path, names: Sequence[str] = ("n1", "n2"), also: Mapping[str, int] | None = None
) -> Iterator[list[Host]]:
    """One host for each of `names`. `also` are further names that they all know, each of the host at that position.

    The test is skipped where the kernel does not allow it.
    """
    tag = f"tfdml{os.getpid()}"
    hosts_file = directory / "hosts"
    lines = [f"{_NET}.{i + 1} {name}" for i, name in enumerate(names)]
    lines += [f"{_NET}.{i + 1} {name}" for name, i in (also or {}).items()]
    hosts_file.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
    made = [
        Host(f"{tag}{i}", f"{_NET}.{i + 1}", name, str(hosts_file)) for i, name in enumerate(names)
    ]
    switch = f"{tag}s"
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for i, host in enumerate(made):
            ip("netns", "add", host.namespace)
            cable = (LINK, "netns", host.namespace, "type", "veth")
            ip("link", "add", *cable, "peer", "name", f"p{i}", "netns", switch)
            ip("-n", switch, "link", "set", f"p{i}", "master", "br0", "up")
            ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", LINK)
            ip("-n", host.namespace, "link", "set", LINK, "up")
            ip("-n", host.namespace, "link", "set", "lo", "up")
        subprocess.run([*made[0].within, "true"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        _delete([switch, *(host.namespace for host in made)])
        pytest.skip(f"cannot make network namespaces here: {error}")
    try:
        yield made
    finally:
        _delete([switch, *(host.namespace for host in made)])


def _delete(namespaces: Sequence[str]) -> None:
    for name in namespaces:
        with suppress(FileNotFoundError):
            inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in inside.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
