"""Hosts on this machine, whose links can be cut: network namespaces on one bridge, with names of their own.

The namespaces have no names outside: each is held by a process that ends when its input closes, so they are gone
with the process that made them, in whatever way it ends. Takes root, or a kernel that lets users make namespaces.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfdml.errors import ConfigError

LINK = "ve0"  # the name of a host's link, on each
_NET = "10.213.9"
_MOST = 64
_HOLD = 'hostname "$0" && echo ready && exec cat'
_WITH_NAMES = 'mount --bind "$0" /etc/hosts && exec "$@"'


@dataclass(frozen=True)
class Host:
    """A host: `within` is the command that runs another one there, `address` what it is reached by."""

    name: str
    address: str
    within: tuple[str, ...]
    _enter: tuple[str, ...]

    def cut(self) -> None:
        """Take its link down: nothing arrives any longer, and nobody is told."""
        self._ip("link", "set", LINK, "down")

    def mend(self) -> None:
        """Bring its link up again."""
        self._ip("link", "set", LINK, "up")

    def cannot_reach(self, other: Host) -> None:
        """What it sends to `other`, and only that, gets lost."""
        nowhere = ("lladdr", "02:00:00:00:00:99", "dev", LINK, "nud", "permanent")
        self._ip("neighbour", "replace", other.address, *nowhere)

    def _ip(self, *arguments: str) -> None:
        _run([*self._enter, "ip", *arguments])


@contextlib.contextmanager
def hosts(directory: str | os.PathLike[str], names: Sequence[str]) -> Iterator[list[Host]]:
    """One host for each of `names`, which know each other by name; all that runs in them ends with the block.

    ```python
    with hosts(tmp_path, ["n1", "n2"]) as (n1, n2):
        process = subprocess.Popen([*n1.within, "python", "train.py"])
        n2.cut()
    ```

    Args:
        directory: for a file of host names, which in the hosts takes the place of /etc/hosts.

    Raises:
        ConfigError: the kernel does not allow it, or a program is missing.
    """
    if not 1 <= len(set(names)) == len(names) <= _MOST:
        raise ConfigError(f"`names` must be 1 to {_MOST} different names, got {list(names)}.")
    addresses = [f"{_NET}.{i + 1}" for i in range(len(names))]
    known = Path(directory, "hosts")
    lines = ["127.0.0.1 localhost", *map(" ".join, zip(addresses, names, strict=True))]
    known.write_text("".join(f"{line}\n" for line in lines))
    with contextlib.ExitStack() as stack:
        switch = _enter(stack.enter_context(_namespace("switch")))
        _run([*switch, "ip", "link", "add", "br0", "type", "bridge"])
        _run([*switch, "ip", "link", "set", "br0", "up"])
        made = []
        for i, (name, address) in enumerate(zip(names, addresses, strict=True)):
            pid = stack.enter_context(_namespace(name, inside=switch))
            enter = _enter(pid)
            cable = f"p{i} type veth peer name {LINK} netns {pid}"
            _run([*switch, "ip", "link", "add", *cable.split()])
            _run([*switch, "ip", "link", "set", f"p{i}", "master", "br0", "up"])
            for line in (
                f"address add {address}/24 dev {LINK}",
                f"link set {LINK} up",
                "link set lo up",
            ):
                _run([*enter, "ip", *line.split()])
            within = (*enter, "unshare", "--mount", "sh", "-c", _WITH_NAMES, str(known))
            made.append(Host(name, address, within, enter))
        yield made


def _enter(pid: int) -> tuple[str, ...]:
    user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
    return ("nsenter", "--target", str(pid), *user, "--net", "--uts")


@contextlib.contextmanager
def _namespace(name: str, inside: Sequence[str] = ()) -> Iterator[int]:
    """The number of a process that holds a network namespace, and a host name; with it ends what is in there.

    `inside` is how to enter the user namespace that it must belong to for a user who is not root.
    """
    user = () if os.geteuid() == 0 or inside else ("--map-root-user",)
    prefix = inside if os.geteuid() != 0 else ()
    command = [*prefix, "unshare", *user, "--net", "--uts", "sh", "-c", _HOLD, name]
    try:
        holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise _refused("there is no program unshare or nsenter") from None
    with holder:
        assert holder.stdin and holder.stdout and holder.stderr
        try:
            if not holder.stdout.readline():
                raise _refused(holder.stderr.read().decode().strip())
            yield holder.pid
        finally:
            _end_all_in(holder.pid)
            holder.kill()


def _end_all_in(pid: int) -> None:
    """SIGKILL to every process of the network namespace of `pid`, if that has come to be another than ours."""
    with contextlib.suppress(FileNotFoundError):
        namespace = os.readlink(f"/proc/{pid}/ns/net")
        if namespace == os.readlink("/proc/self/ns/net"):
            return
        for other in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{other}/ns/net") == namespace:
                    os.kill(int(other), signal.SIGKILL)


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise _refused(f"there is no program {command[0]}") from None
    if done.returncode:
        raise _refused(done.stderr.strip())


def _refused(said: str) -> ConfigError:
    return ConfigError(
        f"network namespaces cannot be made here ({said}). Run as root, with iproute2 and util-linux installed and a "
        "kernel that has veth and bridge."
    )
