"""Writers that fail are left out with one warning; the rest goes on."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest

from tfdml.monitoring.json_lines import JsonLines, path_of, read, read_all
from tfdml.monitoring.prometheus_page import PrometheusPage
from tfdml.monitoring.records import Ended, Event, Scalars, Started, Text
from tfdml.monitoring.writer import Writers

STARTED = Started("worker 0", ("worker 0",), 0, 1, None, 1, None, "host", 1)


def scalars(step, **values):
    return Scalars(step, 0, "train", "step", values or {"loss": 1.0})


@contextmanager
def mounted(directory, options):
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tfdml-test", directory]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


class Remembers:
    name = "memory"

    def __init__(self):
        self.records, self.closed = [], False

    def write(self, record):
        self.records.append(record)

    def close(self):
        self.closed = True


class Fails:
    name = "failure"

    def write(self, record):
        raise ConnectionError("the server\nis away")

    def close(self):
        raise AssertionError("it was left out")


def test_what_fails_is_left_out_and_the_rest_goes_on():
    kept, warnings = Remembers(), []

    def cannot_open():
        raise PermissionError(13, "Permission denied", "/x")

    writers = Writers({"b": cannot_open, "c": Fails, "d": lambda: kept}, warnings.append)
    for step in range(3):
        writers.write(scalars(step))
    writers.flush()
    writers.close()
    assert [r.step for r in kept.records if isinstance(r, Scalars)] == [0, 1, 2] and kept.closed
    events = [(r.kind, r.cause) for r in kept.records if isinstance(r, Event)]
    assert events == [("warning", "b"), ("warning", "failure")], "the others tell of it"
    assert len(warnings) == 2
    assert warnings[0].startswith("monitoring: b is left out from now on, training goes on: ")
    assert warnings[1].endswith(
        "failure is left out from now on, training goes on: the server is away"
    )


def test_a_slow_writer_keeps_nobody_waiting():
    class Slow(Remembers):
        def write(self, record):
            time.sleep(0.2)
            super().write(record)

    slow = Slow()
    writers = Writers({"slow": lambda: slow})
    for step in range(5):
        writers.write(scalars(step))
    assert len(slow.records) < 5, "none has been waited for"
    writers.close()
    assert len(slow.records) == 5


def test_a_full_disk(tmp_path):
    pytest.importorskip("tensorflow")
    from tfdml.monitoring.tensorboard_files import TensorBoardFiles

    with mounted(tmp_path / "disk", "size=64k") as disk:
        kept, warnings = Remembers(), []
        writers = Writers(
            {
                "JSON lines": lambda: JsonLines(path_of(disk, "worker 0")),
                "TensorBoard": lambda: TensorBoardFiles(disk),
                "memory": lambda: kept,
            },
            warnings.append,
        )
        writers.flush()
        (disk / "filler").write_bytes(bytes(8_000))
        for step in range(400):
            writers.write(scalars(step, **{f"metric_{n}": float(step) for n in range(20)}))
        writers.close()
        assert len([r for r in kept.records if isinstance(r, Scalars)]) == 400 and kept.closed
        assert sorted(w.split(" is ")[0] for w in warnings) == [
            "monitoring: JSON lines",
            "monitoring: TensorBoard",
        ], warnings
        assert all("Free some space" in warning for warning in warnings), warnings
        assert [line["step"] for line in read(path_of(disk, "worker 0"))][:2] == [0, 1]


def test_a_directory_that_cannot_be_written(tmp_path):
    pytest.importorskip("tensorflow")
    from tfdml.monitoring.tensorboard_files import TensorBoardFiles

    with mounted(tmp_path / "disk", "ro") as disk:
        warnings = []
        openings = {
            "JSON lines": lambda: JsonLines(path_of(disk, "worker 0")),
            "TensorBoard": lambda: TensorBoardFiles(disk),
        }
        writers = Writers(openings, warnings.append)
        writers.write(scalars(1))
        writers.close()
        assert len(warnings) == 2 and all("Read-only file system" in w for w in warnings)


# -- JSON lines


def test_lines_can_be_read_back_also_after_a_kill(tmp_path):
    path = path_of(tmp_path, "worker 0")
    first = JsonLines(path)
    first.write(STARTED)
    first.write(scalars(1, loss=math.nan, other=math.inf))
    first.write(Text(1, "not", "in it"))
    first.close()
    with path.open("ab") as file:
        file.write(b'{"kind": "scal')  # killed here
    second = JsonLines(path)
    second.write(STARTED)
    second.write(Event(3, "straggler", "worker 0", "input", "it is slow"))
    second.write(Ended(3, "finished", ""))
    second.close()
    lines = read_all(tmp_path)["worker 0"]
    assert [line["kind"] for line in lines] == ["started", "scalars", "started", "event", "ended"]
    assert math.isnan(lines[1]["values"]["loss"]) and lines[1]["values"]["other"] == math.inf
    assert lines[3]["event"] == "straggler"
    assert lines[0]["tasks"] == ["worker 0"]
    for line in path.read_text().splitlines()[3:]:
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# -- Prometheus


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def page(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_the_page_that_prometheus_reads():
    port = free_port()
    metrics = PrometheusPage("127.0.0.1", port, "worker 0")
    metrics.write(STARTED)
    metrics.write(scalars(8, loss=0.5, learning_rate=0.1, examples=256.0, skipped_steps=1.0))
    metrics.write(scalars(16, loss=0.25, learning_rate=0.1, examples=512.0, skipped_steps=1.0))
    metrics.write(Event(16, "straggler", "worker 0", "input", "it is slow"))
    text = page(port)
    for line in (
        'tfdml_metric{name="loss",split="train",task="worker 0"} 0.25',
        'tfdml_learning_rate{task="worker 0"} 0.1',
        'tfdml_steps_total{task="worker 0"} 16.0',
        'tfdml_examples_total{task="worker 0"} 512.0',
        'tfdml_skipped_steps_total{task="worker 0"} 1.0',
        'tfdml_straggler{cause="input",task="worker 0"} 1.0',
        "# TYPE tfdml_steps_total counter",
    ):
        assert line in text, text
    assert "process_resident_memory_bytes" in text
    metrics.close()
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", port)) != 0, "it is closed"
    assert "tfdml" not in " ".join(thread.name for thread in threading.enumerate())


def test_a_port_in_use_is_one_warning():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        warnings = []
        writers = Writers(
            {"Prometheus": lambda: PrometheusPage("127.0.0.1", port, "worker 0")}, warnings.append
        )
        writers.write(scalars(1))
        writers.close()
    (warning,) = warnings
    assert "Prometheus is left out" in warning and "Address already in use" in warning
    assert "Choose another port" in warning
