"""What platforms share: reading variables, files and pages, and what a place says of its host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cluster.surroundings import around
from tfdml.cluster import ClusterSpec, Place
from tfdml.cluster.ports import free_ports
from tfdml.cluster.resolver import address, fetch_url, read_file
from tfdml.errors import ClusterError


class Metadata(BaseHTTPRequestHandler):
    """Answers as a metadata server does: only with the header, and not every path."""

    def do_GET(self) -> None:
        known = self.path == "/name" and self.headers["Metadata-Flavor"] == "Google"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(b"vm-1" if known else b"not found")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Metadata) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_pages(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # Must not be used.
    assert fetch_url(f"{server}/name", {"Metadata-Flavor": "Google"}) == "vm-1"
    assert fetch_url(f"{server}/name", {}) is None
    assert fetch_url(f"{server}/else", {"Metadata-Flavor": "Google"}) is None
    assert fetch_url(f"http://127.0.0.1:{free_ports(1)[0]}/", {}) is None
    assert fetch_url("no address", {}) is None
    assert fetch_url("http://127.0.0.1:x y/", {}) is None


def test_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"caf\xe9\n")
    assert read_file(str(tmp_path / "file")) == "caf\ufffd\n"
    assert read_file(str(tmp_path)) is None
    assert read_file(str(tmp_path / "none")) is None


def test_variables() -> None:
    environ = around({"A": " 3 ", "B": "", "C": "x"})
    assert environ.text("B", "A", "C") == "3" and environ.text("D") == ""
    assert environ.number("B", "A") == 3 and environ.number("D") is None
    assert environ.port() == 12345 and environ.port(1) == 1
    for name, allowed in (("C", "0 or more, got 'x'"), ("A", "4 or more, got '3'")):
        with pytest.raises(ClusterError, match=f"{name} must be a whole number, {allowed}"):
            environ.number(name, lowest=4 if name == "A" else 0)
    for text in ("-1", "1.5", "٣", "1e3"):
        with pytest.raises(ClusterError, match="must be a whole number"):
            around({"A": text}).number("A")


def test_addresses() -> None:
    assert address("a", 1) == "a:1"
    assert address("::1", 1) == address("[::1]", 1) == "[::1]:1"
    with pytest.raises(ClusterError, match=r"need ports up to 65536, .* set TFDML_CLUSTER_PORT"):
        address("a", 65536)


def test_neighbours_on_a_host() -> None:
    cluster = ClusterSpec(
        {"chief": ("[::1]:1",), "worker": ("[::1]:3", "b:1"), "ps": ("[::1]:2",)}, "worker", 0
    )
    place = Place(cluster)
    assert (place.host, place.tasks_on_host, place.local_index) == ("::1", 3, 2)
    alone = Place(cluster.with_task("worker", 1))
    assert (alone.host, alone.tasks_on_host, alone.local_index) == ("b", 1, 0)
    assert alone.summary() == "this is worker 1 at b:1, of 1 chief, 2 worker, 1 ps"
    unlisted = Place(cluster.with_task("evaluator", 0))
    assert (unlisted.host, unlisted.tasks_on_host, unlisted.local_index) == ("", 1, 0)
    assert (Place().tasks_on_host, Place().local_index) == (1, 0)
