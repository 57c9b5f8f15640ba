"""Promoting and going back, whatever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.records import make_version
from tfdml.errors import ConfigError, DataError
from tfdml.runs import versions


@pytest.fixture
def model_dir(tmp_path):
    for number in (1, 2, 10):
        make_version(tmp_path, number)
    (tmp_path / "versions" / "11").mkdir()  # not whole
    return tmp_path


def test_versions_are_numbered_on_from_the_largest(model_dir, tmp_path_factory):
    assert versions.known(model_dir) == [1, 2, 10]
    assert versions.next_directory(model_dir) == model_dir / "versions" / "12"
    new = tmp_path_factory.mktemp("new")
    assert versions.next_directory(new) == new / "versions" / "1"


def test_rollback_undoes_promotions_one_by_one(model_dir):
    assert versions.current(model_dir) is None
    assert versions.promote(model_dir, 1) is None
    assert versions.promote(model_dir, 2) == 1
    assert versions.promote(model_dir, 1) == 2
    assert versions.promote(model_dir, 10) == 1
    assert versions.rollback(model_dir) == (1, 10)
    assert versions.rollback(model_dir) == (2, 1)
    assert versions.promote(model_dir, 10) == 2
    assert versions.rollback(model_dir) == (2, 10)
    assert versions.rollback(model_dir) == (1, 2)
    assert os.readlink(model_dir / "versions" / "current") == "1"
    with pytest.raises(ConfigError, match="only version 1 was ever promoted"):
        versions.rollback(model_dir)
    assert versions.current(model_dir) == 1


def test_what_cannot_be_promoted(model_dir, tmp_path_factory):
    for number in (3, 11):
        with pytest.raises(ConfigError, match=f"has no version {number}; it has 1, 2, 10"):
            versions.promote(model_dir, number)
    versions.promote(model_dir, 2)
    with pytest.raises(ConfigError, match="is the current one already"):
        versions.promote(model_dir, 2)
    with pytest.raises(ConfigError, match="has no exported versions"):
        versions.promote(tmp_path_factory.mktemp("new"), 1)
    assert versions.current(model_dir) == 2


def test_a_version_that_was_removed_is_not_gone_back_to(model_dir):
    versions.promote(model_dir, 1)
    versions.promote(model_dir, 2)
    (model_dir / "versions" / "1" / "saved_model.pb").unlink()
    with pytest.raises(ConfigError, match="has no version 1; it has 2, 10"):
        versions.rollback(model_dir)
    assert versions.current(model_dir) == 2


def test_a_damaged_history_and_a_foreign_link_are_one_sentence(model_dir):
    versions.promote(model_dir, 1)
    (model_dir / "versions" / "history.json").write_text("[{]")
    with pytest.raises(DataError, match=r"history\.json: cannot be read"):
        versions.rollback(model_dir)
    link = model_dir / "versions" / "current"
    link.unlink()
    link.symlink_to("elsewhere")
    with pytest.raises(DataError, match="leads to elsewhere, which is no version"):
        versions.current(model_dir)
    link.unlink()
    link.mkdir()
    with pytest.raises(DataError, match="is no symbolic link"):
        versions.current(model_dir)


def test_a_kill_before_any_file_operation_leaves_a_whole_version_and_the_way_back(tmp_path):
    for number in (1, 2, 3):
        make_version(tmp_path, number)
    versions.promote(tmp_path, 1)
    versions.promote(tmp_path, 2)
    script = Path(__file__).with_name("killed_changes.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
