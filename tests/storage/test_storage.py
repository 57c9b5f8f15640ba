"""One directory of files: the same operations on local paths and on fsspec's memory://."""

import os
import pickle
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import fsspec.implementations.local
import pytest

from tfdml.errors import ConfigError, DataError
from tfdml.storage.storage import LocalStorage, Storage, is_remote, storage_for


class Renaming(fsspec.implementations.local.LocalFileSystem):
    """A remote file system where what is half written is seen, and that does not rename over a file, as HDFS."""

    protocol = "renaming"

    def mv(self, path1, path2, **options):
        if os.path.exists(path2):
            raise FileExistsError(path2)
        os.rename(path1, path2)


fsspec.register_implementation("renaming", Renaming, clobber=True)


@pytest.fixture(params=["local", "memory", "renaming"])
def storage(request, tmp_path) -> Storage:
    if request.param == "local":
        return storage_for(tmp_path / "there")
    if request.param == "renaming":
        return storage_for(f"renaming://{tmp_path}/there")
    return storage_for(f"memory://{uuid.uuid4().hex}/there")


def test_what_is_written_is_read(storage, tmp_path):
    storage.write_bytes("index/a.idx", b"abcdef")
    assert storage.names() == ["index/a.idx"]
    assert storage.exists("index/a.idx") and not storage.exists("a.idx")
    assert not storage.exists("index")
    assert storage.size("index/a.idx") == 6
    assert storage.read_bytes("index/a.idx") == b"abcdef"
    assert storage.read_bytes("index/a.idx", 2, 4) == b"cd"
    assert storage.read_bytes("index/a.idx", 4) == b"ef"
    assert storage.read_bytes("index/a.idx", 4, 100) == b"ef"
    storage.fetch("index/a.idx", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"abcdef"


def test_names_are_sorted_and_without_hidden_files(storage):
    for name in ("b", "a", "c/d", ".conversion/spill", "c/.b.1.partial"):
        storage.write_bytes(name, b"x")
    assert storage.names() == ["a", "b", "c/d"]


def test_a_directory_that_is_not_there_has_no_files(storage):
    assert storage.names() == []
    assert not storage.exists("a")


def test_publish_moves_a_file(storage, tmp_path):
    (tmp_path / "made").write_bytes(b"shard")
    storage.publish(tmp_path / "made", "sub/shard")
    assert storage.read_bytes("sub/shard") == b"shard"
    assert not (tmp_path / "made").exists()


def test_a_file_is_replaced_and_its_version_changes(storage):
    storage.write_bytes("a", b"one")
    before = storage.version("a")
    assert storage.version("a") == before
    storage.write_bytes("a", b"other")
    assert storage.read_bytes("a") == b"other" and storage.size("a") == 5
    assert storage.version("a") != before


def test_remove(storage):
    storage.write_bytes("a", b"one")
    storage.remove("a")
    storage.remove("a")
    assert storage.names() == []


@pytest.mark.parametrize("operation", ["size", "version", "read_bytes"])
def test_a_missing_file_is_named(storage, operation):
    with pytest.raises(DataError, match=rf"{storage.url}/none: no such file\.$"):
        getattr(storage, operation)("none")


def test_a_missing_file_is_not_fetched(storage, tmp_path):
    with pytest.raises(DataError, match="none: no such file"):
        storage.fetch("none", tmp_path / "copies" / "none")
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", ""])
def test_names_stay_inside(storage, name):
    with pytest.raises(DataError, match="does not name a file inside"):
        storage.read_bytes(name)


def test_a_pickled_storage_is_the_same_place(storage):
    storage.write_bytes("a", b"one")
    again = pickle.loads(pickle.dumps(storage))
    assert again.read_bytes("a") == b"one" and again.url == storage.url


def test_only_local_files_have_a_path(tmp_path):
    assert storage_for(tmp_path).local_path("a") == tmp_path / "a"
    assert storage_for(f"file://{tmp_path}").local_path("a") == tmp_path / "a"
    assert storage_for("memory://x").local_path("a") is None
    assert storage_for(tmp_path).is_local and not storage_for("memory://x").is_local
    assert is_remote("s3://b/c") and is_remote("simplecache::s3://b")
    assert not is_remote(tmp_path) and not is_remote("file:///x") and not is_remote("a:b")


def test_half_a_file_is_never_under_its_name(tmp_path, monkeypatch):
    def fail(self, path, data, **options):
        Path(path).write_bytes(data[:2])
        raise ValueError("half")

    monkeypatch.setattr(Renaming, "pipe_file", fail)
    with pytest.raises(DataError, match="a: ValueError: half"):
        storage_for(f"renaming://{tmp_path}").write_bytes("a", b"1234")
    assert storage_for(f"renaming://{tmp_path}").names() == []


def test_publish_from_another_file_system(tmp_path, monkeypatch):
    (tmp_path / "made").write_bytes(b"shard")
    replace = Path.replace

    def refuse(self, target):
        if self.name == "made":
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    LocalStorage(tmp_path / "there").publish(tmp_path / "made", "shard")
    assert (tmp_path / "there" / "shard").read_bytes() == b"shard"
    assert os.listdir(tmp_path) == ["there"]
    assert os.listdir(tmp_path / "there") == ["shard"]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"a: no space left on device\. Free some space and run"):
        LocalStorage(tmp_path).write_bytes("a", b"1")
    assert os.listdir(tmp_path) == []


def test_a_file_where_a_directory_is_expected(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: not a directory"):
        LocalStorage(tmp_path / "file").names()


def test_an_unknown_protocol():
    with pytest.raises(ConfigError, match=r"nope://x: .*'nope'.* s3"):
        storage_for("nope://x").names()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("gs://b/x", r"needs the package gcsfs.*tfdml\[gcs\]"),
        ("abfs://b/x", "needs the package adlfs.*pip install adlfs"),
    ],
)
def test_a_protocol_without_its_package(monkeypatch, url, remedy):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(ConfigError, match=remedy):
        storage_for(url).names()


def test_no_tensorflow_and_no_fsspec_for_local_paths():
    code = (
        "import sys; from tfdml.storage.storage import storage_for; storage_for('.').names();"
        "assert 'fsspec' not in sys.modules; storage_for('memory://a').names();"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
