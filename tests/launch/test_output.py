"""Lines arrive whole, with the name of their task, however the task wrote them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.launch.launcher import eventually
from tfdml.errors import ConfigError
from tfdml.launch import output
from tfdml.launch.output import Console, LineSplitter, TaskOutput


def split(*chunks: bytes) -> list[bytes]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.finish()]


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b", b"c\nd"], [b"abc", b"d"]),
        ([b"\n\nx\n"], [b"", b"", b"x"]),
        ([b"windows\r\n", b"line\r", b"\nends\r\n"], [b"windows", b"line", b"ends"]),
        # Progress: the first state at once, then the last one.
        ([b"1%\r2%\r3%\r100%\nnext\n"], [b"1%", b"100%", b"next"]),
        ([b"\r1%", b"\r2%", b"\r100%", b"\n"], [b"1%", b"100%"]),
        ([b"1%\r", b"2%\r", b"3%\r"], [b"1%", b"3%"]),
        ([b""], []),
    ],
)
def test_lines_are_cut_at_their_ends(chunks: list[bytes], lines: list[bytes]) -> None:
    assert split(*chunks) == lines


def test_any_cut_of_the_stream_gives_the_same_lines() -> None:
    stream = "één\r\n1%\r22%\r100%\r\ntwo\n\nlast".encode()
    whole = split(stream)
    assert whole == ["één".encode(), b"1%", b"100%", b"two", b"", b"last"]
    for cut in range(len(stream) + 1):
        assert split(stream[:cut], stream[cut:]) == whole
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == whole


def test_progress_goes_on_showing_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PROGRESS_SECONDS", 0.0)
    assert split(b"1%\r2%\r3%\n") == [b"1%", b"2%", b"3%"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    splitter = LineSplitter()
    pieces = list(splitter.feed(b"x" * (3 * output.MAX_LINE_BYTES + 1)))
    assert [len(piece) for piece in pieces] == [output.MAX_LINE_BYTES] * 3
    assert list(splitter.finish()) == [b"x"]


def printed(text: bytes, *, log_path: Path | None = None, colour: bool = False):
    """What a task that prints `text` and ends leaves: its output, and the bytes on the console."""
    stream = io.BytesIO()
    task = TaskOutput("worker 1", 1, Console(stream, colour=colour), log_path)
    os.write(task.write_fd, text)
    task.close_write_end()
    task.finish(10)
    return task, stream


def test_console_has_the_prefix_and_the_log_file_has_not(tmp_path: Path) -> None:
    log_path = tmp_path / "logs" / "worker-1.log"
    _, stream = printed(b"one\ntwo", log_path=log_path)
    assert stream.getvalue() == b"[worker 1] one\n[worker 1] two\n"
    assert log_path.read_bytes().splitlines()[1:] == [b"one", b"two"]


def test_a_log_file_is_continued(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        printed(text, log_path=tmp_path / "log")
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert [line for line in lines if not line.startswith(b"---")] == [b"first", b"second"]


def test_a_log_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--log_dir"):
        printed(b"", log_path=tmp_path / "file" / "log")


def test_colour_is_in_the_prefix_alone() -> None:
    _, stream = printed(b"text\n", colour=True)
    assert stream.getvalue() == b"\x1b[33m[worker 1]\x1b[0m text\n"


def test_a_traceback_is_kept_back_until_the_task_turns_out_to_live() -> None:
    task, stream = printed(b"before\nTraceback (most recent call last):\n  File\nValueError: x\n")
    assert stream.getvalue() == b"[worker 1] before\n"
    assert task.last_lines()[0].startswith("Traceback") and task.last_lines()[-1] == "ValueError: x"
    task.release()
    assert stream.getvalue().endswith(b"[worker 1] ValueError: x\n")


def test_a_task_that_goes_on_after_a_traceback_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LAST_WORDS_SECONDS", 0.05)
    stream = io.BytesIO()
    task = TaskOutput("worker 0", 0, Console(stream, colour=False), None)
    os.write(task.write_fd, b"Traceback (most recent call last):\n")
    assert eventually(lambda: b"Traceback" in stream.getvalue())
    os.write(task.write_fd, b"all is well\n")
    task.close_write_end()
    task.finish(10)
    assert stream.getvalue().count(b"Traceback") == 1
    assert stream.getvalue().endswith(b"all is well\n")


def test_a_long_report_is_shown_in_full() -> None:
    text = b"error: \n" + b"line\n" * 2 * output.LAST_WORDS_LINES
    _, stream = printed(text)
    assert stream.getvalue().count(b"[worker 1] line") == 2 * output.LAST_WORDS_LINES


def test_a_disk_that_is_full_is_told_once_and_hinders_nobody(tmp_path: Path) -> None:
    log_path = tmp_path / "worker-1.log"
    log_path.symlink_to("/dev/full")
    _, stream = printed(b"line\n" * 100_000, log_path=log_path)
    told = f"tfdml launch: lines are missing in {log_path} (No space left on device)\n"
    assert stream.getvalue().count(told.encode()) == 1
    assert stream.getvalue().count(b"[worker 1] line\n") == 100_000


def test_a_console_that_is_full_does_not_stop_the_log(tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        task = TaskOutput("worker 1", 1, Console(full, colour=False), tmp_path / "log")
        for _ in range(3):
            os.write(task.write_fd, b"line\n" * 1000)
        task.close_write_end()
        task.finish(10)
    assert (tmp_path / "log").read_bytes().count(b"line\n") == 3000


def test_everything_is_shown_when_somebody_wants_to_see_stacks() -> None:
    stream = io.BytesIO()
    task = TaskOutput("worker 0", 0, Console(stream, colour=False), None)
    os.write(task.write_fd, b"Traceback (most recent call last):\n")
    assert eventually(lambda: bool(task.last_lines()) and task.is_kept_back)
    task.show_all()
    assert b"Traceback" in stream.getvalue()
    os.write(task.write_fd, b'  File "x.py", line 1\n')
    assert eventually(lambda: b"x.py" in stream.getvalue())
    task.close_write_end()
    task.finish(10)
