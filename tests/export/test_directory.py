"""Where an exported model goes: a new or empty directory, which is whole or absent."""

from __future__ import annotations

import pytest

from tfdml.errors import ConfigError
from tfdml.export.directory import check_empty, whole_directory


def test_new_and_empty_directories_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new", "a/b/new"):
        with whole_directory(tmp_path / name) as directory:
            (directory / "file").write_text("x")
            assert not (tmp_path / name / "file").exists()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty", "new"]


def test_what_is_not_empty_is_one_sentence(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"full is not empty, it holds other\.txt\. Give a new"):
        check_empty(tmp_path / "full")
    with pytest.raises(ConfigError, match=r"file is a file\. Give a new directory"):
        check_empty(tmp_path / "file")
    with pytest.raises(ConfigError), whole_directory(tmp_path / "full"):
        raise AssertionError("not reached")
    assert (tmp_path / "full" / "other.txt").read_text() == "mine"
    with (
        pytest.raises(ConfigError, match=r"file/out cannot be made: File exists\. Give another"),
        whole_directory(tmp_path / "file" / "out"),
    ):
        raise AssertionError("not reached")


def test_what_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_directory(tmp_path / "new") as directory:
        (directory / "file").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
