"""A directory in S3 (moto's server): the operations of a Storage, and what goes wrong there."""

import http.server
import threading
import time
import uuid

import fsspec.config
import pytest

from tests.data.remote.servers import Link, free_port
from tfdml.errors import DataError
from tfdml.storage import remote_connection, remote_storage, storage_for


@pytest.fixture
def storage(s3):
    return storage_for(s3.url(uuid.uuid4().hex))


def test_what_is_written_is_read(storage, tmp_path):
    storage.write_bytes("index/a.idx", b"abcdef")
    storage.write_bytes("b", b"")
    assert storage.names() == ["b", "index/a.idx"]
    assert storage.exists("index/a.idx") and not storage.exists("index")
    assert storage.size("index/a.idx") == 6 and storage.size("b") == 0
    assert storage.read_bytes("index/a.idx", 2, 4) == b"cd"
    assert storage.read_bytes("index/a.idx", 4, 100) == b"ef"
    assert storage.read_bytes("b") == b""
    storage.fetch("b", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b""
    before = storage.version("b")
    storage.write_bytes("b", b"x")
    assert storage.version("b") != before and storage.size("b") == 1
    storage.remove("b")
    storage.remove("b")
    assert storage.names() == ["index/a.idx"]


def test_large_files_go_in_pieces(storage, tmp_path, monkeypatch, s3):
    monkeypatch.setattr(remote_storage, "PIECE_BYTES", 100_000)
    data = bytes(range(256)) * 1000
    (tmp_path / "made").write_bytes(data)
    storage.publish(tmp_path / "made", "shard")
    storage.fetch("shard", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert not (tmp_path / "made").exists()
    assert (
        sum(s3.requests("GET", storage.url.removeprefix("s3://bucket/") + "/shard").values()) == 3
    )


def test_a_file_that_changes_while_it_is_fetched(storage, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_storage, "PIECE_BYTES", 1000)
    storage.write_bytes("shard", b"1" * 2500)
    read = remote_storage.RemoteStorage.read_bytes

    def read_and_change(self, name, start=0, stop=None):
        data = read(self, name, start, stop)
        if start == 0:
            storage.write_bytes("shard", b"2" * 2500)
        return data

    monkeypatch.setattr(remote_storage.RemoteStorage, "read_bytes", read_and_change)
    with pytest.raises(DataError, match="shard: it changed while it was fetched"):
        storage.fetch("shard", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_named(s3, tmp_path):
    storage = storage_for("s3://no-such-bucket/x")
    (tmp_path / "made").write_bytes(b"1")
    for operation in (
        storage.names,
        lambda: storage.read_bytes("a"),
        lambda: storage.write_bytes("a", b"1"),
        lambda: storage.publish(tmp_path / "made", "a"),
    ):
        with pytest.raises(DataError, match=r"^s3://no-such-bucket/x.*: no such bucket 'no-such-b"):
            operation()
    assert (tmp_path / "made").exists()


def test_a_missing_file_is_named(storage, tmp_path):
    for operation in (
        lambda: storage.read_bytes("a"),
        lambda: storage.size("a"),
        lambda: storage.fetch("a", tmp_path / "a"),
    ):
        with pytest.raises(DataError, match=r"^s3://bucket/\w+/a: no such file\.$"):
            operation()
    assert not storage.exists("a") and storage.names() == []


def test_a_refused_connection_is_told_without_secrets(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DataError, match=r"x: no connection .*127\.0\.0\.1") as caught:
        storage_for("s3://elsewhere/x").names()
    assert "testing" not in str(caught.value)


def test_no_credentials(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(DataError, match=r"no credentials found\. Set AWS_ACCESS_KEY_ID"):
        storage_for("s3://no-credentials/x").names()


@pytest.mark.parametrize("protocol", ["s3", "http"])
def test_permission_denied(s3, monkeypatch, protocol):
    with _always(
        403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    ) as end:
        monkeypatch.setenv("AWS_ENDPOINT_URL", end)
        url = "s3://locked/x" if protocol == "s3" else f"{end}/x"
        with pytest.raises(DataError, match=r"x/a: permission denied \(.*credentials"):
            storage_for(url).read_bytes("a")


def test_a_server_that_never_answers(monkeypatch, tmp_path):
    """One attempt at a time where it writes to a file."""
    monkeypatch.setattr(remote_storage, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(remote_storage, "_FIRST_PAUSE_SECONDS", 0.01)
    begun = []

    def hang():
        begun.append(1)
        time.sleep(2)

    storage = storage_for("memory://hanging")
    with pytest.raises(DataError, match=r"/a: the connection failed \(no answer within 0 s\)"):
        storage._ask("a", hang, is_pure=False)
    assert len(begun) == 1
    with pytest.raises(DataError, match="the connection failed"):
        storage._ask("a", hang)
    assert len(begun) == 1 + remote_storage._FIRST_ATTEMPTS


@pytest.mark.slow
def test_a_failing_server_is_given_up(s3, monkeypatch):
    with _always(
        503, b"<Error><Code>ServiceUnavailable</Code><Message>no</Message></Error>"
    ) as end:
        monkeypatch.setenv("AWS_ENDPOINT_URL", end)
        with pytest.raises(DataError, match="x/a: the connection failed"):
            storage_for("s3://failing/x").read_bytes("a")


def test_options_come_from_the_configuration_of_fsspec(s3, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": s3.endpoint})
    storage = storage_for(s3.url(f"configured-{uuid.uuid4().hex}"))
    storage.write_bytes("a", b"1")
    assert storage.names() == ["a"]


@pytest.mark.slow
def test_a_link_that_is_cut_and_comes_back(s3, monkeypatch, tmp_path):
    monkeypatch.setattr(remote_storage, "PIECE_BYTES", 50_000)
    data = bytes(range(256)) * 2000
    url = s3.url(f"cut-{uuid.uuid4().hex}")
    storage_for(url).write_bytes("shard", data)
    link = Link(s3.endpoint)
    try:
        remote_connection.connect.cache_clear()
        monkeypatch.setenv("AWS_ENDPOINT_URL", link.endpoint)
        storage = storage_for(url)
        assert storage.size("shard") == len(data)
        link.cut_after = link.forwarded + 250_000
        threading.Timer(2.0, link.up).start()
        storage.fetch("shard", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data
    finally:
        link.close()
        remote_connection.connect.cache_clear()


@pytest.mark.slow
def test_a_link_that_stays_down(s3, monkeypatch, tmp_path):
    monkeypatch.setattr(remote_storage, "PIECE_BYTES", 50_000)
    url = s3.url(f"down-{uuid.uuid4().hex}")
    storage_for(url).write_bytes("shard", bytes(500_000))
    link = Link(s3.endpoint)
    try:
        remote_connection.connect.cache_clear()
        monkeypatch.setenv("AWS_ENDPOINT_URL", link.endpoint)
        monkeypatch.setattr(remote_storage, "PATIENCE_SECONDS", 2.0)
        storage = storage_for(url)
        storage.size("shard")
        link.cut_after = link.forwarded + 120_000
        with pytest.raises(DataError, match=r"/shard: (no connection|the connection failed)"):
            storage.fetch("shard", tmp_path / "copy")
        assert list(tmp_path.iterdir()) == []
    finally:
        link.close()
        remote_connection.connect.cache_clear()


class _always:
    """A server that answers every request in the same way."""

    def __init__(self, status: int, body: bytes):
        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self):
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = _answer

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()
