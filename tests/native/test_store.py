"""The cache directory belongs to its user alone, and says in one sentence why it cannot be used."""

from __future__ import annotations

import os
import stat
import time

import pytest

from tfdml.errors import NativeOpsError
from tfdml.native import store


def test_made_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "cache"))
    directory = store.cache_directory()
    assert directory == tmp_path / "new" / "cache" / "tfdml"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    directory.chmod(0o777)
    assert stat.S_IMODE(store.cache_directory().stat().st_mode) == 0o700


@pytest.mark.parametrize("value", [None, "", "relative/path"])
def test_in_the_home_directory_by_default(tmp_path, monkeypatch, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert store.cache_directory() == tmp_path / ".cache" / "tfdml"


def test_another_users_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store.cache_directory()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(NativeOpsError) as caught:
        store.cache_directory()
    assert str(caught.value) == (
        f"The cache directory {tmp_path}/tfdml belongs to user {owner}, not to this one "
        f"({owner + 1}), so no library is loaded from it. "
        "Set XDG_CACHE_HOME to a directory of yours that can be written."
    )


def test_a_directory_that_others_can_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = store.cache_directory()
    directory.chmod(0o770)
    # As on a file system that has no modes.
    monkeypatch.setattr(type(directory), "chmod", lambda self, mode: None)
    with pytest.raises(NativeOpsError, match=r"can be written by other users .* no library is"):
        store.cache_directory()


def test_one_sentence_where_it_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(NativeOpsError) as caught:
        store.cache_directory()
    assert str(caught.value) == (
        f"The native ops cannot be kept in {tmp_path}/file/tfdml: Not a directory. It must be a "
        "directory that this user can write; XDG_CACHE_HOME says where the cache is."
    )


def test_a_library_replaces_another_with_its_digest(tmp_path):
    built, library = tmp_path / "built", tmp_path / "tfdml_ops.so"
    for content in (b"one", b"two"):
        built.write_bytes(content)
        store.publish(built, library)
        assert library.read_bytes() == content
        assert store.is_intact(library)
    assert {path.name for path in tmp_path.iterdir()} == {
        "built",
        "tfdml_ops.so",
        "tfdml_ops.so.sha256",
    }


def test_waiting_is_explained(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store, "_SECONDS_BEFORE_NOTICE", 0.05)
    library = tmp_path / "tfdml_ops.so"
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        with store.lock(library):
            os.write(writer, b"x")
            while not any(tmp_path.glob("seen")):
                time.sleep(0.02)
        os._exit(0)
    os.read(reader, 1)
    real = store._log.warning
    monkeypatch.setattr(store._log, "warning", lambda *a: (real(*a), (tmp_path / "seen").touch()))
    with store.lock(library):
        pass
    os.waitpid(holder, 0)
    assert [record.message for record in caplog.records] == [
        "waiting for another process that builds the native ops "
        f"({tmp_path}/tfdml_ops.lock is locked)"
    ]
