"""Room for checkpoints: real file systems that are full, small, read-only or not shared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only
from tfdml.doctor.checks import disk

GIB = 2**30
MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /dev/shm rw,nosuid - tmpfs tmpfs rw
41 22 0:33 / /shared rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2
42 22 0:34 / /with\\040space rw - lustre mds:/x rw
"""
TWO_HOSTS = subjects.tf_config("a:1", "b:1")

# In namespaces of its own, so that the mount is there for this process alone and needs no root.
MOUNTED = """\
mount -t tmpfs -o size={size},{options} tmpfs "$1" && {then}; exec "$2" -c "$3" "$1"
"""
CODE = """
import json, sys
from pathlib import Path
from tfdml.doctor.checks import disk
from tfdml.doctor.subject import Subject
findings = list(disk.check(Subject(environ={}, model_dir=Path(sys.argv[1]))))
print(json.dumps([finding.as_json() for finding in findings]))
"""


def on_a_mount(directory, size, options="rw", then="true"):
    """The findings about a tmpfs of that size."""
    script = MOUNTED.format(size=size, options=options, then=then)
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(directory), sys.executable, CODE]
    done = subprocess.run(command, capture_output=True, text=True)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_room(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: space(100 * GIB))
    (finding,) = disk.check(subjects.make(model_dir=tmp_path))
    assert (finding.level, finding.text) == (
        "ok",
        f"100.0 GiB free for checkpoints in {tmp_path}",
    )
    assert not list(tmp_path.iterdir()), "the trial was removed"


def space(free_bytes, files=10):
    return SimpleNamespace(f_bavail=free_bytes // 4096, f_frsize=4096, f_files=1000, f_favail=files)


def test_a_full_disk(tmp_path):
    (finding,) = on_a_mount(tmp_path, "2m", then='head -c 3m /dev/zero > "$1/x" 2>/dev/null')
    assert finding["level"] == "error"
    assert finding["text"] == f"nothing can be written to {tmp_path}: No space left on device"
    assert finding["remedy"] == "Free space there, or use another --model_dir."


def test_a_small_disk(tmp_path):
    (finding,) = on_a_mount(tmp_path, "40m")
    assert finding["level"] == "error"
    assert finding["text"].startswith("40.0 MiB free for checkpoints in ")


def test_a_disk_that_is_read_only(tmp_path):
    (finding,) = on_a_mount(tmp_path, "40m", options="ro")
    assert finding["level"] == "error" and "Read-only file system" in finding["text"]


@pytest.mark.parametrize(("free", "level"), [(GIB, "warning"), (10 * 2**20, "error")])
def test_little_room(tmp_path, monkeypatch, free, level):
    monkeypatch.setattr(os, "statvfs", lambda path: space(free))
    (finding,) = disk.check(subjects.make(model_dir=tmp_path))
    assert finding.level == level and "snapshot" in finding.remedy


def test_no_files_left(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: space(100 * GIB, files=0))
    assert "no more files" in only(disk.check(subjects.make(model_dir=tmp_path)), "error").text


def test_a_directory_that_is_not_there_yet(tmp_path):
    wanted = tmp_path / "runs" / "a"
    (finding,) = disk.check(subjects.make(model_dir=wanted))
    assert f"in {wanted} (made in {tmp_path})" in finding.text
    assert not wanted.exists()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "runs").touch()
    finding = only(disk.check(subjects.make(model_dir=tmp_path / "runs" / "a")), "error")
    assert "Not a directory" in finding.text


@pytest.mark.skipif(shutil.which("setpriv") is None or os.geteuid() != 0, reason="needs root")
def test_a_directory_of_somebody_else(tmp_path):
    code = CODE.replace("Path(sys.argv[1])", f"Path({str(tmp_path)!r})")
    unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*unprivileged, sys.executable, "-c", code, "x"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"another user cannot run this checkout: {done.stderr[-200:]}")
    (finding,) = json.loads(done.stdout)
    assert finding["level"] == "error" and "Permission denied" in finding["text"]


@pytest.mark.parametrize(
    ("directory", "kind"),
    [("/", "ext4"), ("/home/x", "ext4"), ("/shared/runs", "nfs4"), ("/with space", "lustre")],
)
def test_kinds_of_file_systems(directory, kind):
    assert disk.file_system(disk.Path(directory), MOUNTINFO) == kind


def test_several_hosts_need_storage_that_all_of_them_see(tmp_path):
    files = {"/proc/self/mountinfo": MOUNTINFO}
    finding = only(disk.check(subjects.make(TWO_HOSTS, files=files, model_dir=tmp_path)), "warning")
    assert f"{tmp_path} is on ext4, which the job's other 1 host(s) do not see" in finding.text
    shared = {"/proc/self/mountinfo": MOUNTINFO.replace("/shared", str(tmp_path))}
    for environ in (TWO_HOSTS, {}, subjects.tf_config("a:1", "a:2")):
        checked = subjects.make(environ, files=shared, model_dir=tmp_path)
        assert "warning" not in by_level(disk.check(checked))
