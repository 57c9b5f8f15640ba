"""Files appear whole, and locks outlive nobody."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from tfdml.shared_files import appears_when_whole, one_process_at_a_time


def test_a_file_appears_when_whole(tmp_path):
    path = tmp_path / "new" / "file"
    with appears_when_whole(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), appears_when_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _append(lock, log, name):
    with one_process_at_a_time(lock):
        for word in ("in", "out"):
            with log.open("a") as file:
                file.write(f"{name} {word}\n")
            time.sleep(0.05)


def test_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "lock", tmp_path / "log")
    processes = [context.Process(target=_append, args=(*arguments, i)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    assert len(lines) == 8
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert entered.split()[0] == left.split()[0]


def _hold(lock, ready):
    with one_process_at_a_time(lock):
        ready.set()
        time.sleep(60)


def test_a_killed_holder_frees_the_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", ready))
    holder.start()
    assert ready.wait(30)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(30)
    with one_process_at_a_time(tmp_path / "lock"):
        pass
