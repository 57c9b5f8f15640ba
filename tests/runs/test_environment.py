"""What a run was made with."""

from __future__ import annotations

import subprocess

from tfdml.runs import environment


def git(directory, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", directory, *identity, *arguments], check=True, capture_output=True)


def test_git_revision(tmp_path):
    assert environment.git_revision(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "first")
    first = environment.git_revision(tmp_path)
    assert len(first["revision"]) == 40
    assert first["modified"] is False
    (tmp_path / "a").write_text("2")
    assert environment.git_revision(tmp_path) == {"revision": first["revision"], "modified": True}


def test_packages_and_hardware():
    packages = environment.packages()
    assert packages["tensorflow"].startswith("2.")
    assert packages["tfdml"]
    hardware = environment.hardware(["a GPU"])
    assert hardware["cores"] >= 1
    assert hardware["memory_bytes"] > 2**28
    assert hardware["cpu"]
    assert hardware["devices"] == ["a GPU"]
