"""Faults around a job: killed processes, damaged files, full disks, cut links."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import psutil
import pytest

from tfdml.errors import ConfigError
from tfdml.testing.faults import (
    each_damage,
    flip_bit,
    full_disk,
    hosts,
    kill_at_random_moments,
    small_disk,
    truncate,
)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killed_with_their_group(tmp_path):
    def start():
        line = f"sleep 600 & echo $! > {tmp_path}/pid; wait"
        process = subprocess.Popen(["sh", "-c", line], start_new_session=True)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            pass
        return process

    moments = set()
    for killed in kill_at_random_moments(start, 3, within_seconds=(0.0, 0.05), seed=1):
        assert killed.was_running and killed.process.returncode == -9
        (pid,) = map(int, (tmp_path / "pid").read_text().split())
        while is_running(
            pid
        ):  # it gets its signal in a moment; the test runner's time limit bounds this
            time.sleep(0.001)
        (tmp_path / "pid").unlink()
        moments.add(killed.after_seconds)
    assert len(moments) == 3


def test_one_that_has_ended_before_and_what_is_refused():
    def start():
        process = subprocess.Popen(["true"])
        process.wait()
        return process

    (killed,) = kill_at_random_moments(start, 1, within_seconds=(0, 0))
    assert not killed.was_running and killed.process.returncode == 0
    with pytest.raises(ConfigError, match="two numbers from 0 on, the smaller first"):
        kill_at_random_moments(start, 1, within_seconds=(2, 1))


def test_each_damage_is_one_and_is_undone(tmp_path):
    path, data = tmp_path / "part.bin", bytes(range(200))
    path.write_bytes(data)
    seen, said = [], []
    for damage in each_damage(path, num_cuts=10, num_bits=4):
        said.append(damage)
        seen.append(path.read_bytes() if path.exists() else None)
    assert path.read_bytes() == data
    cuts, flips = seen[:10], seen[10:14]
    assert [len(cut) for cut in cuts] == sorted({len(cut) for cut in cuts})
    assert cuts[0] == b"" and len(cuts[-1]) == 199 and all(data.startswith(cut) for cut in cuts)
    for flipped in flips:
        assert sum((a ^ b).bit_count() for a, b in zip(data, flipped, strict=True)) == 1
    assert seen[14:] == [None] and len(set(said)) == 15
    assert said[-1] == "part.bin gone"


def test_the_file_is_whole_when_the_loop_is_left(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    for damage in each_damage(path):
        assert damage and path.read_bytes() == b""
        break
    assert path.read_bytes() == b"abc"
    assert len(list(each_damage(path, num_cuts=10))) == 3 + 1 + 1, "it has no more places"


def test_what_cannot_be_damaged(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    with pytest.raises(ConfigError, match="must be from 0 to 2 to cut off something"):
        truncate(path, 3)
    with pytest.raises(ConfigError, match="`bit` must be from 0 to 23"):
        flip_bit(path, 24)
    flip_bit(path, 9)
    assert path.read_bytes() == b"a`c"


@pytest.fixture
def disk(tmp_path):
    try:
        with small_disk(tmp_path / "disk", 2**20) as disk:
            yield disk
    except ConfigError as error:
        pytest.skip(str(error))


def test_a_full_disk_has_no_room_and_then_has_it_again(disk):
    (disk / "old").write_bytes(bytes(10_000))
    with full_disk(disk, leave_bytes=8192), open(disk / "new", "wb", buffering=0) as file:
        assert file.write(bytes(8192)) == 8192
        with pytest.raises(OSError) as error:
            file.write(bytes(4096))
        assert error.value.errno == errno.ENOSPC
    (disk / "new").write_bytes(bytes(500_000))
    assert sorted(path.name for path in disk.iterdir()) == ["new", "old"]


def test_the_disk_of_the_machine_is_not_filled(tmp_path):
    with pytest.raises(ConfigError, match="is on a disk with"), full_disk(tmp_path):
        raise AssertionError("filled")
    with pytest.raises(ConfigError, match="`size_bytes` must be"), small_disk(tmp_path, 2**40):
        raise AssertionError("mounted")


def test_a_small_disk_goes_with_its_block(tmp_path):
    try:
        with small_disk(tmp_path / "disk", 2**20) as disk:
            (disk / "x").touch()
    except ConfigError as error:
        pytest.skip(str(error))
    assert not os.path.ismount(disk) and not list(disk.iterdir())


ANSWER = """
import socket, sys
server = socket.create_server(("", 7000))
print("ready", socket.gethostname(), flush=True)
while True:
    connection, _ = server.accept()
    connection.send(b"hello")
    connection.close()
"""
ASK = """
import socket, sys
try:
    with socket.create_connection(("n1", 7000), timeout=0.5) as connection:
        print(connection.recv(5).decode())
except OSError as error:
    print("no answer")
"""


def test_hosts_whose_link_is_cut_and_mended(tmp_path):
    try:
        with hosts(tmp_path, ["n1", "n2", "n3"]) as (n1, n2, n3):
            server = subprocess.Popen(
                [*n1.within, sys.executable, "-c", ANSWER], stdout=subprocess.PIPE, text=True
            )
            assert server.stdout.readline() == "ready n1\n"

            def ask(host):
                return subprocess.check_output(
                    [*host.within, sys.executable, "-c", ASK], text=True
                ).strip()

            assert ask(n2) == ask(n3) == "hello"
            n1.cut()
            assert ask(n2) == "no answer"
            n1.mend()
            n2.cannot_reach(n1)
            assert ask(n2) == "no answer" and ask(n3) == "hello"
    except ConfigError as error:
        if "cannot be made here" not in str(error):
            raise
        pytest.skip(str(error))
    assert server.wait() == -9, "what runs in a host ends with it"
    server.stdout.close()
    with pytest.raises(ConfigError, match="different names"), hosts(tmp_path, ["a", "a"]):
        raise AssertionError("made")
