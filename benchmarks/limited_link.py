"""Network namespaces joined by rate-limited links, and processes in them, until the `with` block ends.

Two namespaces are joined by one veth pair; more by a bridge in one namespace more. The namespaces have no
names: each is held by a process that ends when its input closes, so nothing can be left behind, whatever
happens to the process that made them. Works without root where the kernel lets users make namespaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tfdml.errors import ConfigError

DEVICE = "ve0"  # the link's name in the namespace of every worker
BURST = "64kb"  # a larger one lets small payloads pass for free
LATENCY = "100ms"
PORT, TORCH_PORT = 2222, 2223  # namespaces are new, so every port is free
PROGRAMS = ("ip", "tc", "unshare", "nsenter", "setpriv")
MAX_WORKERS = 64

_UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_HOLD = "echo ready; exec cat"
# The kernel kills the command when its parent dies; one that was dead before that was asked is known by its number.
_DIE_WITH_PARENT = [
    *("setpriv", "--pdeathsig=KILL"),
    *("sh", "-c", '[ "$PPID" = "$0" ] || exit 1; exec "$@"'),
]


def bits_per_second(rate: str | None) -> float | None:
    """`rate` as a number; None and "none" are no limit.

    Raises:
        ConfigError: not a number with a unit that tc knows.
    """
    if rate in (None, "none"):
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]bit)", rate)
    if not match or float(match[1]) == 0:
        raise ConfigError(
            f"`rate` must be a number above 0 with kbit, mbit or gbit, or 'none', got '{rate}'. "
            "Write 200mbit for 200 million bits a second."
        )
    return float(match[1]) * _UNITS[match[2]]


class Link:
    """Namespaces of `workers` workers and the links between them. Leaving the `with` block ends all of it.

    Also on SIGTERM and SIGHUP, which raise SystemExit inside the block unless the program handles them itself.
    What `start` started is ended with its process group; should this process be killed, it is killed too.

    Args:
        rate: of each worker's link in each direction, such as "200mbit"; None or "none" does not limit it.
        burst: bytes that may pass at once after an idle time, in the words of tc.
        user_namespace: make the namespaces as an ordinary user would. Default: only where root is missing.

    Raises:
        ConfigError: a program is missing or the kernel refuses; on entering.
    """

    def __init__(
        self,
        workers: int,
        rate: str | None = None,
        *,
        burst: str = BURST,
        user_namespace: bool | None = None,
    ):
        if not 2 <= workers <= MAX_WORKERS:
            raise ConfigError(f"`workers` must be 2 to {MAX_WORKERS}, got {workers}.")
        bits_per_second(rate)
        self.workers, self.rate, self.burst = workers, rate, burst
        self.addresses = [f"10.77.0.{index + 1}" for index in range(workers)]
        self._user_namespace = os.geteuid() != 0 if user_namespace is None else user_namespace
        self._holders: list[subprocess.Popen] = []
        self._processes: list[subprocess.Popen] = []
        self._handlers: dict[int, Any] = {}

    # -- set up and clean up

    def __enter__(self) -> Link:
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        if missing:
            raise ConfigError(
                f"a limited link needs the programs {', '.join(PROGRAMS)}, and {', '.join(missing)} "
                "was not found on PATH. Install iproute2 and util-linux."
            )
        self._raise_on_signals()
        try:
            self._hold(["unshare", *(["-Ur"] if self._user_namespace else []), "-n"])
            enter = self._enter(self._holders[0], network=False)
            for _ in range(self.workers):
                self._hold([*enter, "unshare", "-n"])
            self._join()
            self.limit(self.rate)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process that was started here; the kernel removes the namespaces with the last of them."""
        for process in [*self._processes, *self._holders]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()
        self._processes.clear()
        self._holders.clear()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _raise_on_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, _raise_exit)

    def _hold(self, command: list[str]) -> None:
        holder = subprocess.Popen(
            [*command, "sh", "-c", _HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._holders.append(holder)
        if not holder.stdout.readline():
            said = holder.stderr.read().decode().strip()
            raise ConfigError(
                f"this machine does not let this user make network namespaces ({said}). Run as root, or "
                "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
                "user.max_user_namespaces above 0)."
            )

    def _enter(self, holder: subprocess.Popen, *, network: bool = True) -> list[str]:
        user = ["-U", "--preserve-credentials"] if self._user_namespace else []
        if not user and not network:
            return []
        return ["nsenter", "-t", str(holder.pid), *user, *(["-n"] if network else [])]

    def _join(self) -> None:
        hub, *holders = self._holders
        pids = [holder.pid for holder in holders]
        if self.workers == 2:
            ends = f"netns {pids[0]} type veth peer name {DEVICE} netns {pids[1]}"
            lines = [f"link add {DEVICE} {ends}"]
        else:
            lines = ["link add hub type bridge", "link set hub up"]
            for index, pid in enumerate(pids):
                lines += [
                    f"link add port{index} type veth peer name {DEVICE} netns {pid}",
                    f"link set port{index} master hub up",
                ]
        self._batch("ip", hub, lines)
        for holder, address in zip(holders, self.addresses, strict=True):
            address_line = f"address add {address}/24 dev {DEVICE}"
            self._batch("ip", holder, [address_line, f"link set {DEVICE} up", "link set lo up"])

    def limit(self, rate: str | None) -> None:
        """Change the rate of every link, both directions; running commands keep their connections."""
        limited = bits_per_second(rate) is not None
        self.rate = rate
        # A root qdisc can be deleted only where one was set: setting one first makes both cases the same.
        limits = f"tbf rate {rate if limited else '1gbit'} burst {self.burst} latency {LATENCY}"

        def lines(device: str) -> list[str]:
            set_it = [f"qdisc replace dev {device} root {limits}"]
            return set_it if limited else [*set_it, f"qdisc delete dev {device} root"]

        hub, *holders = self._holders
        for holder in holders:
            self._batch("tc", holder, lines(DEVICE))
        if self.workers > 2:
            ports = [line for index in range(self.workers) for line in lines(f"port{index}")]
            self._batch("tc", hub, ports)

    def _batch(self, program: str, holder: subprocess.Popen, lines: list[str]) -> None:
        command = [*self._enter(holder), program, "-batch", "-"]
        text = "\n".join(lines) + "\n"
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise ConfigError(
                f"the link could not be set up: {program} said '{' '.join(done.stderr.split())}' to "
                f"'{'; '.join(lines)}'. The kernel must have veth, bridge and sch_tbf."
            )

    # -- use

    def start(self, index: int, command: Sequence[str], **options: Any) -> subprocess.Popen:
        """Start `command` in the namespace of worker `index`; `options` are those of `subprocess.Popen`.

        The command ends with the thread that calls this, too: that is how the kernel knows parents.
        """
        process = subprocess.Popen(
            [*self._enter(self._holders[index + 1]), *_DIE_WITH_PARENT, str(os.getpid()), *command],
            start_new_session=True,
            **options,
        )
        self._processes.append(process)
        return process

    def environment(self, index: int, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """`base` and what a worker must know about the cluster: for itself, TensorFlow and PyTorch."""
        cluster = {"worker": [f"{address}:{PORT}" for address in self.addresses]}
        return {
            **base,
            "LINK_INDEX": str(index),
            "LINK_ADDRESSES": ",".join(self.addresses),
            "TF_CONFIG": json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": index}}
            ),
            "MASTER_ADDR": self.addresses[0],
            "MASTER_PORT": str(TORCH_PORT),
            "RANK": str(index),
            "WORLD_SIZE": str(self.workers),
            "GLOO_SOCKET_IFNAME": DEVICE,
        }


def _raise_exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
