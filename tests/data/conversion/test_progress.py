"""What is shown while a conversion runs, and how sizes are read and written."""

from __future__ import annotations

import pytest

from tfdml.data.conversion import progress
from tfdml.data.conversion.sizes import parse_size, written
from tfdml.errors import ConfigError


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which tests move on."""
    seconds = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_line_now_and_then_and_one_at_the_end(capsys, clock):
    lines = progress._Lines()
    with lines.phase("reading", total_bytes=10_000_000, done_bytes=2_000_000):
        lines.rows(100, 0)
        lines.advance(1_000_000)
        assert capsys.readouterr().err == ""
        clock[0] += 40
        lines.rows(100, 1_000_000)
        assert capsys.readouterr().err == "reading: 40%, 5 records/s, 0.1 MB/s, 120 s left\n"
    assert capsys.readouterr().err == "reading: done, 5 records/s, 0.1 MB/s\n"


def test_nothing_known_of_the_time_left(clock):
    assert progress._Meter(100, 0).seconds_left() is None


def test_a_bar_on_a_terminal(monkeypatch, clock):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = progress.shown()
    assert isinstance(bar, progress._Bar)
    with bar.phase("writing", total_bytes=100, done_bytes=50):
        bar.rows(5, 25)
        task = bar._bar.tasks[0]
        assert (task.description, task.total, task.completed) == ("writing", 100, 75)
        assert "records/s" in task.fields["speed"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5), ("1.5kB", 1500), ("256MiB", 256 << 20), ("2 GB", 2 * 10**9), ("1TiB", 1 << 40)],
)
def test_sizes(text, size):
    assert parse_size("shard_bytes", text) == size


@pytest.mark.parametrize("text", ["", "MB", "-5", "5 parsecs", "1e9"])
def test_sizes_that_are_none(text):
    with pytest.raises(
        ConfigError, match=r"--shard_bytes is a size such as 268435456, 256MiB or 1GB, got"
    ):
        parse_size("shard_bytes", text)


def test_written_sizes():
    assert [written(n) for n in (0, 999, 1500, 2.5e6, 1e9, 7e15)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.5 MB", "1.0 GB", "7,000.0 TB"
    ]  # fmt: skip
