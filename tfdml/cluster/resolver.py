"""The contract of a platform's module: from what surrounds a process to its place in a cluster.

A platform is one module here with

    def find(around: Surroundings) -> Place | str: ...

a pure function of the environment, of files and of metadata servers. It returns the `Place`, or, where
the platform is not there, the reason in a few words that follow "because": they are what
`tfdml cluster --explain` prints. Where the platform is there and says something impossible, it raises
`ClusterError` in one sentence: training on one worker when somebody asked for several would be the
wrong answer. `fetch` is called only after the environment or a file gave a sign that there is somebody
to answer. No module imports TensorFlow, and none changes the environment: CUDA_VISIBLE_DEVICES belongs
to whoever set it. `order.py` has the order in which the platforms are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError

MAX_PORT = 65535
FETCH_TIMEOUT_SECONDS = 2.0
PORT_VARIABLE = "TFDML_CLUSTER_PORT"
DEFAULT_PORT = 12345  # As --base_port of `tfdml launch`.


def read_file(path: str) -> str | None:
    """The text of a file, or None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def fetch_url(url: str, headers: Mapping[str, str]) -> str | None:
    """The text at `url`, or None where nobody answers it in time with success."""
    import http.client  # Both with ssl and email, and hardly ever needed.
    import urllib.request

    # Metadata servers are on the host's own link: a proxy could only get in the way.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        with opener.open(request, timeout=FETCH_TIMEOUT_SECONDS) as answer:
            return answer.read().decode("utf-8", errors="replace")
    except (OSError, ValueError, http.client.HTTPException):
        return None


@dataclass(frozen=True)
class Surroundings:
    """All that a platform's module may look at."""

    environ: Mapping[str, str]
    read: Callable[[str], str | None] = read_file
    fetch: Callable[[str, Mapping[str, str]], str | None] = fetch_url

    def text(self, *names: str) -> str:
        """The first of these variables that is set and not blank, or ""."""
        return next((text for name in names if (text := self.environ.get(name, "").strip())), "")

    def number(self, *names: str, lowest: int = 0, highest: int | None = None) -> int | None:
        """The first of these variables that is set, as a whole number; None where none is."""
        name = next((name for name in names if self.text(name)), None)
        if name is None:
            return None
        text = self.text(name)
        value = int(text) if text.isascii() and text.isdigit() else -1
        if value < lowest or (highest is not None and value > highest):
            allowed = f"from {lowest} to {highest}" if highest is not None else f"{lowest} or more"
            raise ClusterError(f"{name} must be a whole number, {allowed}, got {text!r}.")
        return value

    def port(self, default: int = DEFAULT_PORT) -> int:
        """The port of a host's first task: TFDML_CLUSTER_PORT, or `default`."""
        port = self.number(PORT_VARIABLE, lowest=1, highest=MAX_PORT)
        return default if port is None else port

    @property
    def chosen(self) -> str:
        """The platform that TFDML_CLUSTER names, or ""."""
        return self.text("TFDML_CLUSTER")


@dataclass(frozen=True)
class Place:
    """A cluster, and what a process knows of its own host beyond that.

    `gpus` are the GPUs that the platform means for this task, as CUDA_VISIBLE_DEVICES would name them;
    None where it does not say. `platform` is the name of the module that found the place.
    """

    cluster: ClusterSpec = field(default_factory=ClusterSpec.local)
    gpus: tuple[str, ...] | None = None
    platform: str = "local"

    @property
    def host(self) -> str:
        """This task's host as the cluster names it; "" without an address."""
        return host_of(self.cluster.address)

    @property
    def tasks_on_host(self) -> int:
        """How many tasks of the cluster share this task's host, itself included."""
        return max(1, len(self._neighbours()))

    @property
    def local_index(self) -> int:
        """This task's position among the tasks on its host, from 0."""
        own = (self.cluster.task_type, self.cluster.task_index)
        neighbours = self._neighbours()
        return neighbours.index(own) if own in neighbours else 0

    def summary(self) -> str:
        """One line on which task this is of which cluster."""
        cluster = self.cluster
        if cluster.is_local:
            return "a single task, which needs no cluster"
        counts = ", ".join(f"{len(cluster.jobs[job])} {job}" for job in cluster.jobs)
        where = f" at {cluster.address}" if cluster.address else ""
        return f"this is {cluster.task_name}{where}, of {counts}"

    def _neighbours(self) -> list[tuple[str, int]]:
        if not self.host:
            return []
        tasks = [task for task in self.cluster.tasks() if host_of(task.address) == self.host]
        # By port, as the ports of a host are handed out in the order of its tasks.
        tasks.sort(key=lambda task: int(task.address.rpartition(":")[2]))
        return [(task.task_type, task.task_index) for task in tasks]


def address(host: str, port: int) -> str:
    """ "host:port", an IPv6 address in brackets. Raises `ClusterError` past the last port."""
    if port > MAX_PORT:
        raise ClusterError(
            f"the tasks of host {host} need ports up to {port}, but the last one is {MAX_PORT}: "
            f"set {PORT_VARIABLE} to a lower first port."
        )
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def host_of(task_address: str) -> str:
    return task_address.rpartition(":")[0].strip("[]")


def shortened(text: str, length: int = 80) -> str:
    """For messages: the beginning of a text that may be long."""
    return text if len(text) <= length else text[: length - 3] + "..."
