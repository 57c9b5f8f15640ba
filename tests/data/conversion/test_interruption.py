"""Conversions that are killed, interrupted or run out of disk, and go on from there."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data.conversion.directories import contents

REPOSITORY = Path(__file__).parents[3]
KILLS = 20


def start(directory: Path, **settings) -> subprocess.Popen[str]:
    """A conversion as the leader of a process group, which a kill of the group ends with its workers."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.data.conversion.driver",
            str(directory),
            json.dumps({"num_shards": 8, **settings}),
        ],
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def kept(output: str) -> tuple[int, int]:
    fragments, shards = output.split()[1:]
    return int(fragments), int(shards)


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)


def spills(directory: Path) -> int:
    return len(list((directory / ".conversion" / "map").glob("*.spill")))


def shards(directory: Path) -> int:
    return len(list(directory.glob("rows-train.tfrecord-*")))


def test_kill_while_reading_keeps_finished_fragments(tmp_path):
    whole = start(tmp_path / "whole")
    killed = start(tmp_path / "killed", input={"slow_seconds": 0.2})
    wait_for(lambda: spills(tmp_path / "killed") >= 3, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    assert finish(whole)[0] == 0
    assert shards(tmp_path / "killed") == 0
    fragments = spills(tmp_path / "killed")
    assert 3 <= fragments < 10
    status, output, errors = finish(start(tmp_path / "killed"))
    assert status == 0, errors
    assert kept(output) == (fragments, 0)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_kill_while_writing_in_order_keeps_finished_shards(tmp_path):
    settings = {"counted": True, "shuffle": False, "num_shards": 10}
    killed = start(tmp_path / "killed", input={"slow_seconds": 0.2}, **settings)
    receipts = tmp_path / "killed" / ".conversion" / "shards"
    wait_for(lambda: len(list(receipts.glob("*"))) >= 3, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    finished = len(list(receipts.glob("*")))
    status, output, errors = finish(start(tmp_path / "killed", **settings))
    assert status == 0, errors
    assert kept(output) == (0, finished)
    assert finish(start(tmp_path / "whole", **settings))[0] == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    """Only the parent is killed; the lock, which its workers hold too, is free when they are gone."""
    killed = start(tmp_path / "a", input={"slow_seconds": 0.5})
    wait_for(lambda: spills(tmp_path / "a") >= 1, killed)
    workers = children(killed.pid)
    assert len(workers) == 2
    killed.kill()
    finish(killed)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert finish(start(tmp_path / "a"))[0] == 0


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_that_keeps_what_is_finished(tmp_path):
    running = start(tmp_path / "a", input={"slow_seconds": 0.3})
    wait_for(lambda: spills(tmp_path / "a") >= 1, running)
    os.kill(children(running.pid)[0], signal.SIGKILL)
    status, _, errors = finish(running)
    assert status == 2
    assert "was killed (signal 9)" in errors
    assert "fewer --num_processes" in errors
    assert errors.count("\n") == 1
    status, output, _ = finish(start(tmp_path / "a"))
    assert status == 0
    assert kept(output)[0] >= 1


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept(tmp_path):
    running = start(tmp_path / "a", input={"slow_seconds": 0.3})
    wait_for(lambda: spills(tmp_path / "a") >= 2, running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to the workers too
    status, _, errors = finish(running)
    assert status == 130
    assert re.fullmatch(
        r"Interrupted\. [2-9] of 10 parts of the input and 0 shards are finished and kept; the same "
        r"command goes on from there\.\n",
        errors,
    )
    assert finish(start(tmp_path / "a"))[0] == 0


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a tmpfs of so many bytes."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True)


@pytest.mark.parametrize("when", ["reading", pytest.param("writing", marks=pytest.mark.slow)])
def test_full_disk_is_one_sentence_and_not_the_end(tmp_path, small_disk, when):
    """10 MB of records; the disk is full in the first or the second half of what is written."""
    disk = small_disk((6 if when == "reading" else 15) << 20)
    settings = {"input": {"num_rows": 10_000, "per_fragment": 1000, "text_bytes": 950}}
    finish(start(tmp_path / "whole", **settings))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    status, _, errors = finish(start(disk / "a", **settings))
    assert status == 2, errors
    message = re.fullmatch(
        r"error: The disk is full \(.*\): about ([\d.]+) MB more are needed for .*Free some space: "
        r"(\d+) of 10 parts of the input and (\d+)( of 8|) shards are finished and kept; the same command "
        r"goes on from there\.\n",
        errors,
    )
    assert message, errors
    missing, fragments, shards_done = float(message[1]), int(message[2]), int(message[3])
    if when == "reading":
        assert 2 <= fragments < 10
        assert missing == pytest.approx(10 + 10 - fragments, abs=4)
    else:
        assert fragments == 10
        assert 1 <= shards_done < 8
        assert missing == pytest.approx(10 * (8 - shards_done) / 8, abs=2)
    assert finish(start(disk / "a", **settings))[0] == 2  # nothing has changed
    ballast.unlink()
    subprocess.run(["mount", "-o", f"remount,size={64 << 20}", str(disk)], check=True)
    status, output, errors = finish(start(disk / "a", **settings))
    assert status == 0, errors
    assert kept(output)[0] >= fragments
    assert kept(output)[1] >= shards_done
    assert contents(disk / "a") == contents(tmp_path / "whole")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_kill_at_random_moments_changes_no_byte(tmp_path):
    """Twenty times: kill the process group after a random time, then run again until it is through."""
    # GZIP makes the writing of shards take about as long as the reading of rows.
    settings = {
        "input": {"num_rows": 20_000, "per_fragment": 500, "text_bytes": 1000},
        "num_shards": 24,
        "compression": "GZIP",
    }
    began = time.monotonic()
    assert finish(start(tmp_path / "whole", **settings))[0] == 0
    seconds = time.monotonic() - began
    expected = contents(tmp_path / "whole")
    moments = random.Random(5)
    fragments = shards_kept = killed = 0
    for number in range(KILLS):
        directory = tmp_path / str(number)
        process = start(directory, **settings)
        time.sleep(moments.uniform(0.15, 1.0) * seconds)
        if process.poll() is None:
            killed += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        unfinished = not (directory / "manifest.json").exists()
        there = spills(directory), shards(directory)
        status, output, errors = finish(start(directory, **settings))
        assert status == 0, errors
        assert contents(directory) == expected
        if unfinished:
            assert kept(output)[0] == there[0]
            # At most one shard of each process was in its place and not yet noted, so it is written again.
            assert there[1] - 2 <= kept(output)[1] <= there[1]
        fragments += kept(output)[0]
        shards_kept += kept(output)[1]
    print(f"killed {killed} of {KILLS} times; kept {fragments} fragments, {shards_kept} shards")
    assert killed >= KILLS // 2
    assert fragments > 0
    assert shards_kept > 0
