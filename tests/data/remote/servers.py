"""Servers on the loopback device: moto's S3, a plain web server, and a link that can be cut.

Each is a child process with a time limit, or a thread, and ends with its `with` block.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LIMIT_SECONDS = 600


@dataclass(frozen=True)
class S3Server:
    """moto's S3 at `endpoint`, with one bucket."""

    endpoint: str
    bucket: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What s3fs needs to find this server, and no credentials of the user."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def url(self, path: str) -> str:
        return f"s3://{self.bucket}/{path}"

    def requests(self, method: str, path: str = "") -> Counter[str]:
        """How often each object below `path` was asked for with `method`, by key."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
        pattern = rf'"{method} /{self.bucket}/({re.escape(path)}[^ ?"]*)[^"]*" 2'
        return Counter(re.findall(pattern, text))


@contextlib.contextmanager
def s3_server(directory: Path, bucket: str = "bucket") -> Iterator[S3Server]:
    port = free_port()
    log = directory / "s3.log"
    with _child([sys.executable, "-m", "moto.server", "-p", str(port)], log):
        endpoint = f"http://127.0.0.1:{port}"
        _wait_for(f"{endpoint}/moto-api/", log)
        create = urllib.request.Request(
            f"{endpoint}/{bucket}", method="PUT", headers={"Host": f"127.0.0.1:{port}"}
        )
        _open(create).close()
        yield S3Server(endpoint, bucket, log)


@contextlib.contextmanager
def web_server(directory: Path, log: Path) -> Iterator[str]:
    """Python's own web server, which knows no ranges. Yields its URL."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with _child([*command, "--directory", str(directory)], log):
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, log)
        yield url


class Link:
    """A TCP connection to `endpoint` that can be down: forwards bytes, refuses and cuts on request.

    Attributes:
        endpoint: the address of this side.
        forwarded: bytes that have come back from the server.
        cut_after: cut the link once `forwarded` is so much; None: never.
        pause_after: likewise, let nothing through until `resume`.
    """

    def __init__(self, endpoint: str):
        host, port = endpoint.rpartition("/")[2].split(":")
        self._server = (host, int(port))
        self.cut_after: int | None = None
        self.pause_after: int | None = None
        self.forwarded = 0
        self._paused = threading.Event()
        self._may_flow = threading.Event()
        self._may_flow.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def down(self) -> None:
        """Cut every connection, and every new one until `up`."""
        self._is_up = False
        for pair in self._pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        self.cut_after = None
        self._is_up = True

    def wait_until_paused(self) -> None:
        assert self._paused.wait(60)

    def resume(self) -> None:
        self.pause_after = None
        self._paused.clear()
        self._may_flow.set()

    def close(self) -> None:
        self.resume()
        self.down()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            for each in pair:
                each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._is_up:
                client.close()
                continue
            server = socket.create_connection(self._server)
            self._pairs.append((client, server))
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if from_server:
                    self.forwarded += len(data)
                    if self.pause_after is not None and self.forwarded >= self.pause_after:
                        self._may_flow.clear()
                        self._paused.set()
                    self._may_flow.wait(60)
                target.sendall(data)
                if from_server and self.cut_after is not None and self.forwarded >= self.cut_after:
                    self.down()
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _child(command: list[str], log: Path) -> Iterator[None]:
    with log.open("w") as file:
        child = subprocess.Popen(
            ["timeout", str(_LIMIT_SECONDS), *command], stdout=file, stderr=file
        )
    try:
        yield
    finally:
        child.terminate()  # `timeout` passes it on
        child.wait(timeout=30)


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            _open(url).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} does not answer: {log.read_text()[-500:]}") from None
            time.sleep(0.05)


def _open(url):
    """Without the proxies that a test machine may have."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10)
