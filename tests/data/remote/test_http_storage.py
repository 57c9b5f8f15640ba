"""A directory behind a plain web server: read, list, never write."""

import pytest

from tests.data.remote.servers import free_port, web_server
from tfdml.errors import DataError
from tfdml.storage import remote_storage, storage_for


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    served = tmp_path_factory.mktemp("served")
    (served / "set" / "index").mkdir(parents=True)
    (served / "set" / "shard-00000").write_bytes(bytes(range(256)) * 100)
    (served / "set" / "a b").write_bytes(b"space")
    (served / "set" / "index" / "empty").write_bytes(b"")
    with web_server(served, tmp_path_factory.mktemp("log") / "log") as url:
        yield url


def test_files_are_listed_and_read(there, tmp_path):
    storage = storage_for(f"{there}/set")
    assert storage.names() == ["a b", "index/empty", "shard-00000"]
    assert storage.size("shard-00000") == 25_600 and storage.size("index/empty") == 0
    assert storage.exists("a b") and not storage.exists("none")
    assert storage.read_bytes("a b") == b"space"
    # Python's server sends the whole file whatever the range.
    assert storage.read_bytes("shard-00000", 100, 200) == bytes(range(100, 200))
    storage.fetch("shard-00000", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes(range(256)) * 100
    storage.fetch("index/empty", tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""
    assert storage.version("shard-00000") == storage.version("shard-00000")


def test_it_can_only_be_read(there, tmp_path):
    (tmp_path / "made").write_bytes(b"1")
    for write in (
        lambda: storage_for(f"{there}/set").write_bytes("a", b"1"),
        lambda: storage_for(f"{there}/set").publish(tmp_path / "made", "a"),
    ):
        with pytest.raises(DataError, match=r"/set/a: http:// can only be read\."):
            write()


def test_a_missing_file_is_named(there):
    with pytest.raises(DataError, match=r"/set/none: no such file\."):
        storage_for(f"{there}/set").read_bytes("none")


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_storage, "_FIRST_PAUSE_SECONDS", 0.01)
    url = f"http://127.0.0.1:{free_port()}/set"
    for operation in (
        lambda: storage_for(url).names(),
        lambda: storage_for(url).exists("a"),
        lambda: storage_for(url).fetch("a", tmp_path / "a"),
    ):
        with pytest.raises(DataError, match=f"^{url}.*: no connection"):
            operation()


def test_user_names_and_signatures_are_not_shown(there):
    url = there.replace("://", "://user:pass-word@") + "/set?signature=sec-ret"
    storage = storage_for(url)
    assert storage.read_bytes("a b") == b"space"
    with pytest.raises(DataError) as caught:
        storage.read_bytes("none")
    assert "pass-word" not in str(caught.value) and "sec-ret" not in str(caught.value)
    assert "pass-word" not in str(storage) and "sec-ret" not in storage.location("a")
